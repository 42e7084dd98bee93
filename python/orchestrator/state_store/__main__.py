"""`python -m orchestrator.state_store` says which `orchestrator.state_store` programs here import, and why.

With a verb it is the command `orchestrator-state`. `python -m orchestrator_state_store_finder` runs this too, where an
old `state_store.py` would be run in its place. So nothing here is imported from the package that it belongs to.
"""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

MODULE = "orchestrator.state_store"
HERE = Path(__file__).resolve().parent


def report() -> tuple[list[str], bool]:
    """Return the lines of the report, and whether programs import this package."""
    try:
        used, why = importlib.import_module(MODULE), ""
    except Exception as error:
        used, why = ModuleType("none"), f"nowhere: {type(error).__name__}: {error}"
    file = getattr(used, "__file__", None)
    place = Path(file).resolve() if file else None
    ours = place == HERE / "__init__.py"
    lines = [f"orchestrator.state_store {used.__version__ if ours else version()}"]
    if ours:
        lines.append(f"SQLite {used.SQLITE_VERSION}")
        lines += ["debug build, slow: build it with `maturin develop --release`"] * used.DEBUG_BUILD
    lines += [f"installed in {HERE}", f"imported from {place or why}", finder()]
    lines += [f"old module {old}: {fate(old, place)}" for old in old_modules()]
    return lines, ours


def version() -> str:
    """Return the version that is installed."""
    try:
        return metadata.version("orchestrator-state-store")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def finder() -> str:
    """Say whether the finder is active that lets a package `orchestrator` of the program's own have this one in it."""
    try:
        import orchestrator_state_store_finder as found
    except ImportError:
        return "finder not installed"
    why = "" if found.active() else ": Python has not run its start-up hook (-S, or no site-packages folder)"
    return f"finder {'active' if found.active() else 'not active'}{why}, {found.__file__}"


def old_modules() -> list[Path]:
    """Return each `orchestrator/state_store.py` that is in reach of an import."""
    host = sys.modules.get("orchestrator")
    folders = [*getattr(host, "__path__", ()), *(str(Path(entry, "orchestrator")) for entry in sys.path)]
    found = (Path(folder, "state_store.py").resolve() for folder in folders)
    return [path for path in dict.fromkeys(found) if path.is_file()]


def fate(old: Path, used: Path | None) -> str:
    """Say what an old module does, and what to do with it."""
    return "IN USE instead of this package; delete it" if old == used else "not used; delete it"


def main() -> int:
    """Run a verb, or print the report; 1 where programs import something else, or nothing."""
    if sys.argv[1:]:
        try:
            command = importlib.import_module("orchestrator.state_store._cli")
        except ImportError as error:
            print(f"python -m {MODULE}: {error}; without arguments it says what is imported, and why", file=sys.stderr)
            return 2
        command.main(f"python -m {MODULE}")
    lines, ours = report()
    print(*lines, sep="\n")
    return 0 if ours else 1


if __name__ == "__main__":
    sys.exit(main())

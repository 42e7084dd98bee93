"""Lets a program that has a package `orchestrator` of its own import `orchestrator.state_store` beside it.

Python imports a regular package from one folder only: a program's `orchestrator/__init__.py` hides the part that this
distribution adds, and that part hides a program that is installed by a finder of its own, as editable ones are. So
each start of Python puts the `Finder` first (`orchestrator_state_store_finder.pth`, and `.start` from Python 3.15 on).
It answers for two names, and leaves all else, and all that fails, to the finders behind it:

- `orchestrator` is the program's package, wherever it is found, before it is a namespace.
- `orchestrator.state_store` is a package, wherever one is found; a module `state_store.py` beside it is a leftover.

It runs at each start of each program in this environment. So it imports nothing but `sys`, and nothing here raises.

`python -m orchestrator_state_store_finder` says which `orchestrator.state_store` is in use.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

HOST = "orchestrator"
STORE = "orchestrator.state_store"


class Finder:
    """Finds `orchestrator` and `orchestrator.state_store` where no single finder does."""

    @staticmethod
    def find_spec(
        name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Return what `name` is, or None where the finders behind this one have to say."""
        if name != HOST and name != STORE:
            return None
        try:
            return find_store(path, target) if name == STORE else find_host(path, target)
        except Exception:
            return None


def find_host(path: "Sequence[str] | None", target: "ModuleType | None") -> "ModuleSpec | None":
    """Return the first `orchestrator` that is more than a namespace.

    The finders in front of this one have been asked already. A finder that raises is for the import system to meet.
    """
    behind = False
    for finder in list(sys.meta_path):
        if behind:
            find_spec = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find_spec and find_spec(HOST, path, target)
            if spec is not None and spec.loader is not None:
                return spec
        behind = behind or is_ours(finder)
    return None


def find_store(path: "Sequence[str] | None", target: "ModuleType | None" = None) -> "ModuleSpec | None":
    """Return the first `orchestrator.state_store` that is a package: on the host's path, then on `sys.path`."""
    finder = sys.modules["_frozen_importlib_external"].PathFinder
    for folder in (*(path or ()), *portions()):
        spec: ModuleSpec | None = finder.find_spec(STORE, [folder], target)
        if spec is not None and spec.loader is not None and spec.submodule_search_locations is not None:
            return spec
    return None


def portions() -> "Iterator[str]":
    """Yield each folder `orchestrator` that an entry of `sys.path` has."""
    finder = sys.modules["_frozen_importlib_external"].PathFinder
    for entry in list(sys.path):
        spec = finder.find_spec(HOST, [entry])
        if spec is not None:
            yield from spec.submodule_search_locations or ()


def active() -> bool:
    """Say whether the finder is asked by imports."""
    return any(map(is_ours, sys.meta_path))


def is_ours(finder: object) -> bool:
    """Say whether it is the `Finder`: this one, or the one from before this module was reloaded."""
    return getattr(finder, "__module__", None) == Finder.__module__


def install() -> None:
    """Have the finder asked first, once."""
    try:
        if not active():
            sys.meta_path.insert(0, Finder)
    except Exception:
        return


if __name__ == "__main__":
    from pathlib import Path
    from runpy import run_path

    reports = (Path(folder, "state_store", "__main__.py") for folder in portions())
    report = next(filter(Path.is_file, reports), None)
    if report is None:
        sys.exit(f"{STORE} is nowhere on sys.path")
    run_path(str(report), run_name="__main__")

"""Times this tree against an earlier commit: `python -m benches.paired BASE`.

Both builds do the same by turns, AB, BA, AB ..., each in a process of its own, and what counts is the ratio within each
pair: what slows the machine down for a while slows down both. Beside them the base is paired with itself in the same
way (A/A), which shows what the machine's own noise comes to.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benches.files import FILES
from benches.paired_rows import ROWS
from benches.report import line
from benches.rows import value_text
from benches.session import ROOT

LIMIT = 1.05
CONFIDENCE = 0.95

PAIRS_OF_A_PROCESS = 3
"""Then come new processes: where one's memory happens to lie makes it a little faster or slower for all its life."""

TESTED, CONTROL = ("base", "new"), ("base once", "base again")
HEAD = ("work", *TESTED, "new/base", "95 %", "A/A", "95 %", "a measurement", "")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return an interval that has the median in it with a probability of at least `CONFIDENCE`.

    It ends at two of the values, and assumes nothing of how they are distributed: how many lie under the true median is
    binomial (Conover, Practical Nonparametric Statistics, section 3.2). Fewer than 6 have no such interval.
    """
    count, cut = len(values), 0
    if count < 6:
        return 0.0, math.inf
    while 2 * sum(math.comb(count, below) for below in range(cut + 1)) / 2**count <= 1 - CONFIDENCE:
        cut += 1
    ordered = sorted(values)
    return ordered[cut - 1], ordered[-cut]


def build(source: Path, name: str) -> Path:
    """Build a wheel from nothing, as it is released, whatever the environment says of profiles. It is kept."""
    into = FILES / "wheels" / name
    shutil.rmtree(into, ignore_errors=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CARGO_PROFILE_", "CARGO_INCR"))}
    with tempfile.TemporaryDirectory() as target:
        maturin = [sys.executable, "-m", "maturin", "build", "--quiet", "--release", "--interpreter", sys.executable]
        env["CARGO_TARGET_DIR"] = target
        subprocess.run([*maturin, "--out", str(into)], cwd=source, env=env, check=True)
    return next(into.glob("*.whl"))


def build_commit(commit: str) -> Path:
    """Build the wheel of a commit. Its sources are not below this tree, whose settings cargo would take as well."""
    name = subprocess.check_output(
        ["git", "rev-parse", "--verify", f"{commit}^{{commit}}"], cwd=ROOT, text=True
    ).strip()
    with tempfile.TemporaryDirectory() as source:
        archive = subprocess.check_output(["git", "archive", name], cwd=ROOT)
        subprocess.run(["tar", "-x"], cwd=source, input=archive, check=True)
        return build(Path(source), name)


def install(wheel: Path, side: Path) -> None:
    """Make an environment with nothing but this wheel in it."""
    venv.create(side, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(side / "bin" / "python"), "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", str(wheel.resolve())], check=True)
    (side / "files").mkdir()


def command(side: Path, function: str, *arguments: str) -> list[str]:
    """Return what calls a function of `paired_rows` in an environment; the tree's own package is not on its path."""
    code = f"import sys; sys.path.append(sys.argv[1]); from benches.paired_rows import *; {function}(*sys.argv[2:])"
    return [str(side / "bin" / "python"), "-I", "-c", code, str(ROOT), *arguments]


class Worker:
    """A process of one build, for one row. It ends with the stack."""

    def __init__(self, stack: ExitStack, side: Path, row: str) -> None:
        call = command(side, "serve", row, str(side / "files"))
        self._process = stack.enter_context(
            subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        self._read()  # Which build it is; `say_build` ends the process where it is not that of its environment.
        self.seconds()

    def seconds(self) -> float:
        """Have it do one work, and return how long that took."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read())

    def _read(self) -> str:
        assert self._process.stdout
        if said := self._process.stdout.readline().strip():
            return said
        raise SystemExit(f"ended early: {self._process.args!r}")


def share_large_files(folder: Path) -> None:
    """Have the base make the large files, and give each side a copy."""
    made = folder / TESTED[0] / "files"
    subprocess.run(command(folder / TESTED[0], "make_large_files", str(made)), check=True)
    for side in (TESTED[1], *CONTROL):
        shutil.copytree(made, folder / side / "files", dirs_exist_ok=True)
    os.sync()


def measure(row: str, folder: Path, pairs: int) -> dict[str, list[float]]:
    """Return the seconds of each side's measurements, pair by pair."""
    seconds: dict[str, list[float]] = {side: [] for side in (*TESTED, *CONTROL)}
    with ExitStack() as stack:
        for number in range(pairs):
            if number % PAIRS_OF_A_PROCESS == 0:
                stack.close()
                workers = {side: Worker(stack, folder / side, row) for side in seconds}
            for pair in (TESTED, CONTROL):
                for side in pair[:: -1 if number % 2 else 1]:
                    seconds[side].append(workers[side].seconds())
    return seconds


def compare(name: str, calls: int, seconds: Mapping[str, Sequence[float]]) -> tuple[bool, str]:
    """Return whether a row is slower beyond doubt, and its line of the table."""
    found: list[str] = []
    for first, second in (CONTROL, TESTED):
        ratios = [after / before for before, after in zip(seconds[first], seconds[second], strict=True)]
        low, high = interval(ratios)
        found = [f"{statistics.median(ratios):.3f}", f"{low:.3f} to {high:.3f}", *found]
    slower = low > LIMIT
    base, new = (statistics.median(seconds[side]) for side in TESTED)
    each = [value_text(name, median / calls) for median in (base, new)]
    return slower, line((name, *each, *found, value_text(name, base), "**slower**" if slower else ""))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.paired", description=__doc__)
    parser.add_argument("base", metavar="BASE", nargs="?", help="the commit to compare with")
    parser.add_argument("--base-wheel", type=Path, help="its wheel, where it is built already")
    parser.add_argument("--wheel", type=Path, help="this tree's wheel, where it is built already")
    parser.add_argument(
        "--pairs", type=int, default=21, help="how many pairs a row has (21; of fewer than 6 nothing follows)"
    )
    parser.add_argument("--rows", nargs="+", default=[""], metavar="TEXT", help="rows with one of these in the name")
    parsed = parser.parse_args()
    if not (parsed.base or parsed.base_wheel):
        parser.error("name the commit to compare with, or its wheel")
    return parsed


def main() -> int:
    """Measure, print the table, and return 1 where a row is slower."""
    options = arguments()
    chosen = {name: row for name, row in ROWS.items() if any(text in name for text in options.rows)}
    if not chosen:
        raise SystemExit(f"no row has that in its name; there are: {'; '.join(ROWS)}")
    FILES.mkdir(exist_ok=True)
    base = options.base_wheel or build_commit(options.base)
    new = options.wheel or build(ROOT, "tree")
    with tempfile.TemporaryDirectory(prefix="paired-", dir=FILES) as temporary:
        folder = Path(temporary)
        for side, wheel in zip((*CONTROL, *TESTED), (base, base, base, new), strict=True):
            install(wheel, folder / side)
            said = subprocess.check_output(command(folder / side, "say_build"), text=True)
            print(f"- {side}: {wheel}, {said}", end="", flush=True)
        if any(row.large for row in chosen.values()):
            share_large_files(folder)
        start = time.perf_counter()
        print("", line(HEAD), line(["---"] * len(HEAD)), sep="\n", flush=True)
        slower = []
        for name, row in chosen.items():
            is_slower, text = compare(name, row.calls, measure(name, folder, options.pairs))
            slower += [name] * is_slower
            print(text, flush=True)
    print(f"\n{options.pairs} pairs a row and series, {(time.perf_counter() - start) / 60:.1f} minutes")
    for name in slower:
        print(f"SLOWER: {name}: its interval lies above {LIMIT}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())

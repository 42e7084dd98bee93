"""A SQLite that is known to lose data is refused when the package is imported."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import _core

from tests.conftest import lack
from tests.helpers import in_process
from tests.programs import imports

OLDEST = 3_051_003
"""The first without the WAL-reset bug, <https://www.sqlite.org/wal.html#walresetbug>, as SQLite counts versions."""


def answering(version: int) -> bytes:
    """Return the machine code of sqlite3_libversion_number: mov eax, VERSION; ret."""
    return b"\xb8" + version.to_bytes(4, "little") + b"\xc3"


@pytest.fixture
def relinked(tmp_path: Path) -> Callable[[int], Path]:
    """Return what makes a copy of the extension module whose SQLite says that it is of another version."""
    if platform.machine() != "x86_64":
        lack("x86-64 processor")
    module = Path(str(_core.__file__))
    code = module.read_bytes()
    major, minor, patch = map(int, _core.SQLITE_VERSION.split("."))
    ours = answering(major * 1_000_000 + minor * 1_000 + patch)
    assert code.count(ours) == 1

    def relink(version: int) -> Path:
        copy = tmp_path / f"{version}" / module.name
        copy.parent.mkdir()
        copy.write_bytes(code.replace(ours, answering(version)))
        return copy

    return relink


def test_import_refuses_a_sqlite_with_the_log_reset_bug(
    relinked: Callable[[int], Path], figure: Callable[[str], None]
) -> None:
    assert in_process(imports.load, str(relinked(OLDEST))) is None
    for version in (OLDEST - 1, 3_040_001, 3_007_000):
        error = in_process(imports.load, str(relinked(version)))
        assert error is not None, version
        assert "older than 3.51.3" in error
    figure(f"3.51.3 and {_core.SQLITE_VERSION} taken, 3.51.2 and older refused")

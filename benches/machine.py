"""What a run was measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import apsw

PACKAGES = ("orchestrator-state-store", "apsw", "orjson", "sqlite-utils", "SQLAlchemy")


def describe() -> str:
    """Return date, machine and versions, as a line a kind."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return "\n".join(
        [
            f"- {datetime.now(UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores, {platform.system()}"
            f" {platform.release().partition('-')[0]}",
            f"- Python {platform.python_version()}, {versions}",
            f"- SQLite in apsw {apsw.sqlite_lib_version()}, in Python's sqlite3 {sqlite3.sqlite_version}",
        ]
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

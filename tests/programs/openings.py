"""Openings that fail."""

import contextlib
import importlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from orchestrator.state_store import StateStore, StateStoreError, salvage

importlib.import_module("orchestrator.state_store.exceptions")


def tried(path: Path, read_only: bool = False) -> str:
    """Open a store; return what came of it, without what is said of where it was to be."""
    try:
        StateStore(path, read_only=read_only).close()
    except StateStoreError as error:
        return (
            f"{type(error).__name__}: {str(error).removeprefix(f'open {path}: ').replace(str(path.parent), 'FOLDER')}"
        )
    return "opened"


def entries(folder: Path) -> list[str]:
    """Return what is in a folder, at any depth."""
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


@contextlib.contextmanager
def descriptors(free: int) -> Iterator[None]:
    """Leave so many descriptors."""
    held = []
    limit = len(list(Path("/proc/self/fd").iterdir())) + 20
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    with contextlib.suppress(OSError):
        while True:
            held.append(os.open("/", os.O_RDONLY))
    for _ in range(free):
        os.close(held.pop())
    try:
        yield
    finally:
        for each in held:
            os.close(each)


def open_with_few_descriptors(folder: str, name: str) -> list[tuple[str, list[str]]]:
    """Open a file with ever more descriptors until that works; return what came of each try, and what was left."""
    told = []
    for free in range(20):
        with descriptors(free):
            came = tried(Path(folder) / name)
        told.append((came, entries(Path(folder))))
        if came == "opened":
            break
    return told


def open_with_no_room(folder: str, name: str) -> tuple[str, list[str]]:
    """Open a new file where nothing can be written to any file."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    came = tried(Path(folder) / name)
    left = entries(Path(folder))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return came, left


def lose_rights() -> None:
    """Become somebody whom root's rights are not for."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def salvage_without_rights(dest: str, *paths: str) -> list[str]:
    """Salvage files as somebody whom root's rights are not for; return what came of each."""
    lose_rights()
    came = []
    for path in paths:
        try:
            came.append(str(salvage(path, dest).kept["intel_items"]))
        except StateStoreError as error:
            came.append(f"{type(error).__name__}: {str(error).removeprefix(f'salvage {path}: ')}")
        Path(dest).unlink(missing_ok=True)
    return came


def open_without_rights(*paths: str) -> list[list[str]]:
    """Open files as somebody whom root's rights are not for, to write and to read."""
    lose_rights()
    return [[tried(Path(path), read_only) for read_only in (False, True)] for path in paths]


def open_each(*paths: str) -> list[list[str]]:
    """Open files, to write and to read."""
    return [[tried(Path(path), read_only) for read_only in (False, True)] for path in paths]

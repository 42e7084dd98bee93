"""Who gets the extension gets the notices that the licences of its crates ask for."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

from tests.helpers import ROOT
from tools.notices import NOTICES, RULE, notices

LICENSES = {"LICENSE-APACHE", "LICENSE-MIT", NOTICES.name}


def test_file_is_what_its_script_writes() -> None:
    """A crate that came, went or changed leaves it behind."""
    assert NOTICES.read_text(encoding="utf-8") == notices(), "Cargo.lock has changed: run `make notices`"


def test_every_crate_in_the_extension_is_listed_and_has_a_text() -> None:
    """Cargo's own tree says which they are, not the script's walk through the graph."""
    cargo = ["cargo", "tree", "--locked", "--edges=normal", "--prefix=none", "--no-dedupe", "--format={p}"]
    tree = subprocess.run(cargo, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = dict.fromkeys(re.findall(r"^(\S+) v(\S+)", tree, re.MULTILINE))
    crates = {f"{name} {version}" for name, version in found if name != "orchestrator-state-store"}
    assert {"rusqlite", "libsqlite3-sys", "pyo3"} <= {crate.split()[0] for crate in crates}
    head, listed, _, *sections = NOTICES.read_text(encoding="utf-8").split(f"{RULE}\n")
    assert crates == set(re.findall(r"^(\S+ \S+) \(.+\) https://", listed, re.MULTILINE)), head
    assert crates == {crate for section in sections for crate in section.split(":\n", 1)[0].split(", ")}


def test_sqlite_is_named() -> None:
    text = NOTICES.read_text(encoding="utf-8")
    assert re.search(r"^SQLite 3\.\d+\.\d+, .* public domain:\n\nThe author disclaims copyright", text, re.MULTILINE)


def test_it_is_installed() -> None:
    files = metadata.files("orchestrator-state-store") or []
    found = {file.name: file.locate() for file in files if "licenses" in file.parts}
    assert set(found) == LICENSES
    assert Path(found[NOTICES.name]).read_bytes() == NOTICES.read_bytes()


def test_it_is_in_the_sdist(tmp_path: Path) -> None:
    maturin = Path(sys.executable).with_name("maturin")
    subprocess.run([maturin, "sdist", "--out", tmp_path], cwd=ROOT, check=True, capture_output=True)
    [sdist] = tmp_path.iterdir()
    with tarfile.open(sdist) as archive:
        assert {Path(name).name for name in archive.getnames() if name.count("/") == 1} >= LICENSES

"""Write LICENSE-THIRD-PARTY: whose code the extension has in it, and under which licences. `make notices` runs this."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOTICES = ROOT / "LICENSE-THIRD-PARTY"
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
TEXT = re.compile("(un)?licen[cs]e|copying|copyright|notice", re.IGNORECASE)
RULE = "=" * 80
HEAD = """\
Third-party software in the extension module of orchestrator-state-store
{rule}

Made by tools/notices.py from Cargo.lock and the files of each crate. Below are the crates, with the macros that wrote
some of their code, and then each text that they come with, once.

The extension also has the Rust standard library in it, by the contributors of the Rust project, licensed as
MIT OR Apache-2.0 (https://www.rust-lang.org/policies/licenses), of which the texts are below as well.

{crates}
"""
SQLITE = """\
{rule}
SQLite {version}, which libsqlite3-sys brings along, is in the public domain:

{blessing}
"""


def metadata() -> dict[str, Any]:
    """Return what cargo knows of all crates of this build; their sources are there afterwards."""
    platforms = [f"--filter-platform={platform}" for platform in PLATFORMS]
    cargo = ["cargo", "metadata", "--format-version=1", "--locked", *platforms]
    known: dict[str, Any] = json.loads(subprocess.run(cargo, cwd=ROOT, check=True, capture_output=True).stdout)
    return known


def linked() -> list[dict[str, Any]]:
    """Return the crates that are more than tools of the build: normal dependencies, and theirs."""
    known = metadata()
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    root = known["resolve"]["root"]
    found, todo = {root}, [root]
    while todo:
        for needed in nodes[todo.pop()]["deps"]:
            if needed["pkg"] not in found and any(kind["kind"] is None for kind in needed["dep_kinds"]):
                found.add(needed["pkg"])
                todo.append(needed["pkg"])
    crates = [crate for crate in known["packages"] if crate["id"] in found - {root}]
    return sorted(crates, key=lambda crate: (crate["name"], crate["version"]))


def texts(crate: dict[str, Any]) -> list[str]:
    """Return the texts of the licences and notices that a crate comes with."""
    folder = Path(crate["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if TEXT.match(path.name))
    if not files:
        raise SystemExit(f"{title(crate)} has no file with its licence: have tools/notices.py find the text elsewhere")
    return [re.sub(r"[ \t\f]+$", "", path.read_text(encoding="utf-8").strip("\n"), flags=re.M) for path in files]


def title(crate: dict[str, Any]) -> str:
    """Return the name and version of a crate."""
    return f"{crate['name']} {crate['version']}"


def sqlite(crate: dict[str, Any]) -> str:
    """Return the notice of the SQLite in libsqlite3-sys, in its authors' own words."""
    source = (Path(crate["manifest_path"]).parent / "sqlite3" / "sqlite3.h").read_text(encoding="utf-8")
    blessing = re.search(r"^\*\* The author disclaims copyright.*?taking more than you give\.$", source, re.M | re.S)
    version = re.search(r'^#define SQLITE_VERSION +"(.+)"$', source, re.M)
    if not blessing or not version:
        raise SystemExit("sqlite3.h no longer says that it is in the public domain, or which version it is")
    return SQLITE.format(rule=RULE, version=version[1], blessing=re.sub(r"^\*\* ?", "", blessing[0], flags=re.M))


def notices() -> str:
    """Return what has to be in the file."""
    crates = linked()
    by_words: dict[str, tuple[str, list[str]]] = {}
    for crate in crates:
        for text in texts(crate):
            by_words.setdefault(" ".join(text.split()), (text, []))[1].append(title(crate))
    listed = "\n".join(f"{title(crate)} ({crate['license']}) {crate['repository']}" for crate in crates)
    parts = [HEAD.format(rule=RULE, crates=listed)]
    parts += [sqlite(crate) for crate in crates if crate["name"] == "libsqlite3-sys"]
    parts += [f"{RULE}\n{', '.join(dict.fromkeys(users))}:\n\n{text}\n" for text, users in by_words.values()]
    return "\n".join(parts)


if __name__ == "__main__":
    NOTICES.write_text(notices(), encoding="utf-8")

"""What a program of `tests.programs.unlucky` was told of its writes, and whether the file bears it out."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from orchestrator.state_store import StateStore

from tests.programs import oracle
from tests.programs.unlucky import DONE

UNKNOWN = "CommitOutcomeUnknownError"
LOOK_FIRST = {"run", "block"}
"""Kinds that must not just be repeated where their outcome is unknown: the run that they start may be there."""


class Call(NamedTuple):
    """A call, as kind and name, how it ended, and the error's message."""

    what: str
    error: str
    message: str

    @property
    def kind(self) -> str:
        """What kind of call it was."""
        return self.what.split()[0]


class Outcomes:
    """The calls that a program has told of, in lines; its other lines do not matter."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.calls = [Call(*line.split("\t")) for line in lines if "\t" in line]

    def writes(self, *errors: str) -> set[str]:
        """Return the writes that ended with one of these errors, as kind and name."""
        return {call.what for call in self.calls if call.error in errors and call.kind in oracle.WRITES}

    def check(self, path: Path) -> None:
        """Check that what was done is there, what failed is not, and that groups are whole and the file sound.

        Each call of unknown outcome has to say so, and whether repeating it is safe.
        """
        with StateStore(path) as store:
            there, wrong = oracle.inspect(store)
        assert wrong == []
        assert self.writes(DONE) - there == set(), "an acknowledged write is gone"
        failed = self.writes(*{call.error for call in self.calls} - {DONE, UNKNOWN})
        later_versions_are_there = {what for what in failed if what.startswith("version")}
        assert (failed - later_versions_are_there) & there == set(), "what was said not to be written is there"

        for call in self.calls:
            if call.error == UNKNOWN and call.kind in oracle.WRITES:
                assert "unknown" in call.message, call
                advice = (
                    ("look", "check what was written") if call.kind in LOOK_FIRST else ("repeating the call is safe",)
                )
                assert any(words in call.message for words in advice), call

    def __str__(self) -> str:
        counts = collections.Counter(call.error for call in self.calls)
        return ", ".join(f"{count} {error}" for error, count in sorted(counts.items()))

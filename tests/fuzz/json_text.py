"""JSON, both ways: what other programs wrote is read, and what is written comes back, as the `json` module has it.

An input is a sequence of texts behind the separator of RFC 7464, so that one file serves many of them.
"""

import functools
import json
import random
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.state_store import InvalidJSONError, NestingTooDeepError, StateStore

from tests.fuzz.mutations import delete, flip, repeat
from tests.programs import plain
from tests.programs.exits import item

SEPARATOR = b"\x1e"
TEXTS_AN_INPUT = 60

DEEP = 300
"""Levels from which the `json` module and the store may part: both end in RecursionError, at depths of their own."""

WORDS = rb"""
    [ ] { } , : " null true false NaN Infinity -Infinity -0 -0.0 1e400 1E-400 0.1e+1 01 1. .5 - 9007199254740993
    18446744073709551616 -9223372036854775809 2.2250738585072011e-308 \u0000 \ud800 \udc00 \ud83d\ude00 \n \/ \x
    {"$serde_json::private::Number":"1"} {"a":1,"a":2} {"1":1}
""".split()
BYTES = [b" ", b"\t", b"\f", b"\0", b"\x7f", b"\xc3\xa9", b"\xed\xa0\x80", b"\xff", b"\xef\xbb\xbf", b"9" * 400]

KINDS = (TypeError, RecursionError, ValueError)


def mutate(random_: random.Random, known: list[bytes]) -> bytes:
    """Change a few of the texts that are known, each in a few ways."""
    texts = random_.choice(known).split(SEPARATOR)
    return SEPARATOR.join(mutate_text(texts, random_) for _ in range(TEXTS_AN_INPUT))


def mutate_text(texts: list[bytes], random_: random.Random) -> bytes:
    """Change one text."""
    text = bytearray(random_.choice(texts))
    for _ in range(random_.choice([1, 1, 2, 4])):
        place = random_.randrange(len(text) + 1)
        kind = random_.randrange(6)
        if kind < 3:
            (flip, delete, repeat)[kind](text, random_)
        elif kind == 3:
            text[place:place] = random_.choice(random_.choice([WORDS, BYTES]))
        elif kind == 4:
            text[place:] = random_.choice(texts)[place:]
        else:
            before, after = random_.choice([(b"[", b"]"), (b'{"k":', b"}"), (b"[0,", b",1]")])
            levels = random_.choice([1, 2, 126, 127, 128, 250])
            text[:] = before * levels + text + after * levels
    return bytes(text[:20_000]).replace(SEPARATOR, b"")


def run(content: bytes) -> set[str]:
    """Read the texts, and write what is in them; compare both with what the `json` module does."""
    texts = content.split(SEPARATOR)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        path.write_bytes(empty_store())
        plain.record(str(path), texts)
        with StateStore(path, synchronous="NORMAL") as store, store.transaction():
            return {outcome for number, text in enumerate(texts) for outcome in check(store, number, text)}


@functools.cache
def empty_store() -> bytes:
    """Return the file of a store that has nothing in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        StateStore(path).close()
        return path.read_bytes()


def check(store: StateStore, number: int, text: bytes) -> Iterable[str]:
    """Compare one text, and what is in it."""
    found = outcome_of(lambda: only_claims(store, str(number)))
    expected = outcome_of(lambda: json.loads(text.decode()))
    deep = text.count(b"[") + text.count(b"{") >= DEEP
    if isinstance(expected, RecursionError) and not isinstance(found, Exception):
        yield "deeper than json.loads reads"
    elif isinstance(expected, Exception):
        allowed = (InvalidJSONError, NestingTooDeepError) if deep else InvalidJSONError
        assert isinstance(found, allowed), (text, found, expected)
        yield re.sub(r"\d+", "", str(expected))
    elif deep:
        assert not isinstance(found, Exception) or isinstance(found, NestingTooDeepError), (text, found)
    else:
        assert repr(found) == repr(expected), (text, found, expected)
        value = unusual(expected, random.Random(text))
        check_written(store, number, value)
        yield re.sub(r"\w+", "x", repr(value)[:40])


def check_written(store: StateStore, number: int, value: Any) -> None:
    """Write a value; compare what is there, and what comes back, with what the `json` module makes of it."""
    expected = outcome_of(lambda: json.loads(json.dumps(value)))
    found = outcome_of(lambda: store.upsert_intel_item({**item(str(number)), "run_id": "0", "claims_json": value}))
    if isinstance(expected, Exception):
        kind = next(kind for kind in KINDS if isinstance(expected, kind))
        assert isinstance(found, kind), (value, found, expected)
        return
    assert not isinstance(found, Exception), (value, found)
    assert repr(only_claims(store, str(number))) == repr(expected), value
    sql = "SELECT claims_json FROM intel_items WHERE item_id = ?"
    [(written,)] = store.connection.execute(sql, (str(number),)).fetchall()
    assert repr(json.loads(written)) == repr(expected), value


def only_claims(store: StateStore, run_id: str) -> Any:
    """Return the claims of a run's only item."""
    [each] = store.list_intel_items_for_run(run_id)
    return each["claims_json"]


def outcome_of(call: Any) -> Any:
    """Return what a call returns or raises."""
    try:
        return call()
    except Exception as error:
        return error


def unusual(value: Any, random_: random.Random) -> Any:
    """Return a value with tuples for some of its lists, and keys that are no text for some that are."""
    if isinstance(value, list):
        parts = [unusual(part, random_) for part in value]
        return tuple(parts) if random_.random() < 0.3 else parts
    if isinstance(value, dict):
        return {unusual_key(key, random_): unusual(part, random_) for key, part in value.items()}
    return value


def unusual_key(key: str, random_: random.Random) -> Any:
    """Return a key, or now and then one of another kind."""
    return key if random_.random() < 0.7 else random_.choice([len(key), None, True, 0.5, float("nan"), 2**70, b"", ()])

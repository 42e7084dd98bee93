"""Processes that share a store on a server."""

import os
import sys

from orchestrator.state_store import StateStore, TransactionError

from tests.programs import hear, say
from tests.programs.exits import item


def add(url: str, rounds: int) -> int:
    """Read a number and write the next one, so many times."""
    with StateStore(url) as store:
        say()
        hear()
        for _ in range(rounds):
            with store.transaction():
                found = store.get_intel_item("sum")
                number = found["claims_json"] if found else 0
                store.upsert_intel_item({**item("sum"), "claims_json": number + 1})
    return rounds


def session_of(store: StateStore) -> int:
    """Return the number of the session that the store reads by."""
    [(number,)] = store.connection.execute("SELECT pg_backend_pid()").fetchall()
    return int(number)


def fork_in_a_transaction(url: str) -> list[str]:
    """Fork inside a transaction and beside one; return what each process was told, and what is there after that."""
    told: list[str] = []
    with StateStore(url) as store:
        store.start_run("run-1", "daily", {})
        with store.transaction():
            store.upsert_intel_item(item("mine"))
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    store.upsert_intel_item(item("of the child"))
                    os.write(write, b"written")
                except TransactionError:
                    os.write(write, b"refused")
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            told.append(os.read(read, 100).decode())
            store.upsert_intel_item(item("mine too"))
        session = session_of(store)
        child = os.fork()
        if child == 0:
            store.upsert_intel_item(item("of a later child"))
            assert session_of(store) != session
            store.close()
            sys.exit(0)
        told.append(str(os.waitpid(child, 0)[1]))
        told.append("its own session" if session_of(store) == session else "another session")
        store.upsert_intel_item(item("last"))
        told += [each["item_id"] for each in store.list_intel_items()]
    return told

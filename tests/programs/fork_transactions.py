"""Programs that fork while a transaction is open, in this thread or another."""

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

from orchestrator.state_store import StateStore, TransactionError

from tests.programs import say
from tests.programs.exits import item
from tests.programs.forking import Gate, fork, go_on_or_be_told, raises, write


def transaction_of_another_thread(store: StateStore, path: str) -> None:
    """Fork while another thread is in a transaction: the child sees nothing of it, and does not write into it."""
    entered, over, listed, kept = threading.Event(), threading.Event(), Gate(), Gate()

    def hold() -> None:
        with store.transaction():
            store.upsert_intel_item(item("held"))
            entered.set()
            over.wait()
        say("held")

    def child() -> None:
        try:
            assert store.list_intel_items_for_run("run-1") == []
        except TransactionError:
            pass
        finally:
            listed.open()
        kept.wait()
        go_on_or_be_told(store)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait()
    join = fork(child)
    listed.wait()
    over.set()
    holder.join()
    kept.open()
    join()
    write(store, "parent", 10)


def own_transaction(store: StateStore, path: str) -> None:
    """Fork inside a transaction: in the child each write and the exit raise; the parent's goes on."""
    left, kept = Gate(), Gate()
    transaction = store.transaction()
    transaction.__enter__()
    store.upsert_intel_item(item("parent-before"))

    def child() -> None:
        try:
            refused()
        finally:
            left.open()
        kept.wait()
        go_on_or_be_told(store)
        with StateStore(path) as own:
            write(own, "child-anew", 10)

    def refused() -> None:
        raises(TransactionError, store.upsert_intel_item, item("never"))
        raises(TransactionError, store.upsert_intel_items_batch, [item("never")])
        raises(TransactionError, store.finish_run, "run-1", "never")
        raises(TransactionError, store.transaction().__enter__)
        raises(TransactionError, transaction.__exit__, None, None, None)

    join = fork(child)
    left.wait()
    store.upsert_intel_item(item("parent-after"))
    transaction.__exit__(None, None, None)
    say("parent-before")
    say("parent-after")
    kept.open()
    join()
    write(store, "parent", 5)


def own_transaction_dropped(store: StateStore, path: str) -> None:
    """Fork inside a transaction that the child only drops: the parent's goes on."""
    transactions = [store.transaction()]
    transactions[0].__enter__()
    store.upsert_intel_item(item("parent-before"))

    def child() -> None:
        transactions.clear()
        gc.collect()

    fork(child)()
    store.upsert_intel_item(item("parent-after"))
    transactions[0].__exit__(None, None, None)
    say("parent-before")
    say("parent-after")


def own_transaction_in_a_with_block(store: StateStore, path: str) -> None:
    """Fork inside a `with` block that the child leaves as if nothing were wrong."""

    def block() -> int:
        with store.transaction():
            store.upsert_intel_item(item("parent-before"))
            return os.fork()

    try:
        pid = block()
    except TransactionError:
        os._exit(7)
    if pid == 0:
        os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7, "the child was not told"
    say("parent-before")


def spilled_transaction(path: str) -> int:
    """Fork inside a transaction that has filled the writer's cache, so that part of it is in the -wal already.

    The child is refused the store of that transaction alone; return the bytes of the -wal at the fork.
    """
    names = [f"large-{index}" for index in range(70)]
    refused: list[Callable[[StateStore], object]] = [
        lambda each: each.upsert_intel_item(item("never")),
        lambda each: each.list_intel_items_for_run("run-1"),
        lambda each: each.connection.execute("SELECT count(*) FROM intel_items"),
    ]
    over = Gate()
    with StateStore(path, synchronous="NORMAL") as store, StateStore(path) as other:
        store.start_run("run-1", "daily", {})
        assert other.list_intel_items_for_run("run-1") == []

        def child() -> None:
            for act in refused:
                raises(TransactionError, act, store)
            assert other.list_intel_items_for_run("run-1") == []
            with StateStore(path, read_only=True) as reader:
                assert reader.list_intel_items_for_run("run-1") == []
            store.close()
            over.wait()
            write(other, "child", 5)
            with StateStore(path) as own:
                write(own, "child-anew", 5)

        with store.transaction():
            for name in names:
                store.upsert_intel_item({**item(name), "claims_json": "x" * 1_000_000})
            size = Path(f"{path}-wal").stat().st_size
            join = fork(child)
        for name in names:
            say(name)
        over.open()
        write(other, "other", 5)
        join()
    return size

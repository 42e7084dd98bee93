"""Runs whose block is left because its task is cancelled, by framework."""

from collections.abc import Callable
from typing import Any

from orchestrator.state_store import StateStore


def of(store: StateStore) -> dict[str, str]:
    """Return how each run ended."""
    return {run.run_id: run.status for run in store.list_runs()}


def trio_tasks(path: str) -> dict[str, str]:
    """Cancel tasks of trio: in the scope, in a nursery, and beside one that fails."""
    import trio

    with StateStore(path) as store:

        async def work(run_id: str, body: Callable[[], Any]) -> None:
            with store.run(run_id, "daily", {}):
                await body()

        async def nursery(*bodies: Callable[[], Any]) -> None:
            async with trio.open_nursery() as nursery:
                for body in bodies:
                    nursery.start_soon(body)

        async def fail() -> None:
            raise LookupError

        async def main() -> None:
            with trio.move_on_after(0):
                await work("in a scope", trio.sleep_forever)
            with trio.move_on_after(0):
                await work("around a nursery", lambda: nursery(trio.sleep_forever, trio.sleep_forever))
            try:
                await work("beside a failure", lambda: nursery(trio.sleep_forever, fail))
            except* LookupError:
                pass
            await work("of its own", lambda: trio.sleep(0))

        trio.run(main)
        return of(store)


def anyio_tasks(path: str) -> dict[str, str]:
    """Cancel tasks of anyio, on trio and on asyncio."""
    import anyio

    with StateStore(path) as store:

        async def main(backend: str) -> None:
            with anyio.move_on_after(0), store.run(backend, "daily", {}):
                await anyio.sleep_forever()

        for backend in ("asyncio", "trio"):
            anyio.run(main, backend, backend=backend)
        return of(store)


def gevent_greenlets(path: str) -> dict[str, str]:
    """Kill greenlets of gevent, and have one time out."""
    import gevent

    with StateStore(path) as store:

        def work(run_id: str) -> None:
            with store.run(run_id, "daily", {}):
                gevent.sleep(60)

        killed = gevent.spawn(work, "killed")
        gevent.sleep(0)
        killed.kill()
        try:
            with gevent.Timeout(0.001):
                work("timed out")
        except gevent.Timeout:
            pass
        return of(store)


def bare_greenlets(path: str) -> dict[str, str]:
    """Throw into a greenlet."""
    import greenlet

    with StateStore(path) as store:

        def work() -> None:
            with store.run("killed", "daily", {}):
                greenlet.getcurrent().parent.switch()

        one = greenlet.greenlet(work)
        one.switch()
        one.throw()
        return of(store)

"""Two that take turns on one thread, one of them in transactions, and a real thread; by framework."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

from orchestrator.state_store import StateStore, StoreBusyError, Transaction

from tests.programs.exits import item

Steps = Generator[Any, Any, None]
"""A body that yields what its framework is to wait for."""


def attempt(call: Callable[[], Any]) -> str:
    """Make a call that writes; say what came of it. One that would wait in vain for its own thread says so."""
    try:
        call()
    except StoreBusyError as error:
        return "busy at once" if "could never end" in str(error) else "busy"
    return "written"


class Scene:
    """What is done to two stores at once, and what each who does it is told."""

    def __init__(self, path: str) -> None:
        self.stores = [StateStore(f"{path}_{number}", busy_timeout=60) for number in "12"]
        for store in self.stores:
            store.start_run("run-1", "daily", {})
        self.told: dict[str, Any] = {}
        self.thread_is_there = False
        self.blocks: list[Transaction] = []

    def put(self, name: str) -> list[str]:
        """Write an item to each store."""
        return [attempt(lambda store=store: store.upsert_intel_item(item(name))) for store in self.stores]  # type: ignore[misc]

    def see(self) -> list[Any]:
        """Return the ids of each store's items, and how many its connection finds."""
        return [
            [[each["item_id"] for each in store.list_intel_items_for_run("run-1")] for store in self.stores],
            [len(store.connection.execute("SELECT 1 FROM intel_items").fetchall()) for store in self.stores],
        ]

    def enter(self) -> None:
        """Enter both stores' transactions, and write."""
        self.blocks = [store.transaction() for store in self.stores]
        for block in self.blocks:
            block.__enter__()
        self.put("mine")

    def go_on(self) -> None:
        """Nest, write and read what was written."""
        with self.stores[0].transaction(), self.stores[1].transaction():
            self.told["its holder wrote"] = self.put("mine too")
        self.told["its holder saw"] = self.see()

    def leave(self) -> None:
        """Roll both back, the first one first."""
        for block in self.blocks:
            self.told.setdefault("its holder saw last", []).append(len(self.see()[0][1]))
            block.__exit__(LookupError, LookupError(), None)

    def meet(self) -> None:
        """Write and read while another one of this thread is inside."""
        self.told["another one's calls"] = self.put("other")
        self.told["another one's transactions"] = [attempt(store.transaction().__enter__) for store in self.stores]
        self.told["another one saw"] = self.see()

    def come_later(self) -> None:
        """Write once nobody is inside any more."""
        with self.stores[0].transaction(), self.stores[1].transaction():
            self.told["later"] = self.put("other")

    def work(self) -> None:
        """Write in a thread, which waits."""
        self.thread_is_there = True
        self.told["a thread"] = self.put("thread")

    def end(self) -> dict[str, Any]:
        """Close the stores; return what was told, and what they hold."""
        items = [sorted(ids) for ids in self.see()[0]]
        for store in self.stores:
            store.close()
        return {**self.told, "items": items}


@dataclass
class Kit:
    """What a framework waits by."""

    event: Callable[[], Any]
    pause: Callable[[], Any]
    in_thread: Callable[[Callable[[], None]], Any]

    def bodies(self, scene: Scene) -> list[Callable[[], Steps]]:
        """Return what is to be run side by side."""
        inside, met, over = self.event(), self.event(), self.event()

        def holder() -> Steps:
            scene.enter()
            inside.set()
            yield met.wait()
            while not scene.thread_is_there:
                yield self.pause()
            scene.go_on()
            scene.leave()
            over.set()

        def another() -> Steps:
            yield inside.wait()
            scene.meet()
            met.set()
            yield over.wait()
            scene.come_later()

        def worker() -> Steps:
            yield inside.wait()
            yield self.in_thread(scene.work)

        return [another, worker, holder]


async def drive(body: Callable[[], Steps]) -> None:
    """Run a body as a coroutine."""
    for awaitable in body():
        await awaitable


def block(body: Callable[[], Steps]) -> None:
    """Run a body whose waits block, or seem to."""
    for _ in body():
        pass


def gevent_greenlets(path: str) -> dict[str, Any]:
    """Run greenlets of gevent."""
    return with_gevent(path, threads=False)


def gevent_threads(path: str) -> dict[str, Any]:
    """Run what is a `threading.Thread` by name, and has been made a greenlet by gevent."""
    return with_gevent(path, threads=True)


def with_gevent(path: str, *, threads: bool) -> dict[str, Any]:
    import gevent
    from gevent import monkey

    monkey.patch_all()
    scene = Scene(path)
    kit = Kit(threading.Event, lambda: gevent.sleep(0), lambda work: gevent.get_hub().threadpool.apply(work))
    if threads:
        started = [threading.Thread(target=block, args=[body]) for body in kit.bodies(scene)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    else:
        gevent.joinall([gevent.spawn(block, body) for body in kit.bodies(scene)], raise_error=True)
    return scene.end()


def bare_greenlets(path: str) -> dict[str, Any]:
    """Run greenlets that switch to each other."""
    from greenlet import getcurrent, greenlet

    class Event:
        def __init__(self) -> None:
            self.is_set = False

        def set(self) -> None:
            self.is_set = True

        def wait(self) -> Callable[[], bool]:
            return lambda: self.is_set

    def in_thread(work: Callable[[], None]) -> Callable[[], bool]:
        thread = threading.Thread(target=work)
        thread.start()
        return lambda: not thread.is_alive()

    def run(body: Callable[[], Steps]) -> None:
        parent = getcurrent().parent
        assert parent
        for is_over in body():
            parent.switch()
            while not is_over():
                parent.switch()

    scene = Scene(path)
    waiting = [(greenlet(run), body) for body in Kit(Event, lambda: bool, in_thread).bodies(scene)]
    while waiting:
        for each, body in waiting:
            each.switch(*() if each else (body,))
        waiting = [pair for pair in waiting if not pair[0].dead]
    return scene.end()


def trio_tasks(path: str) -> dict[str, Any]:
    """Run tasks of trio."""
    import trio

    scene = Scene(path)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for body in Kit(trio.Event, trio.lowlevel.checkpoint, trio.to_thread.run_sync).bodies(scene):
                nursery.start_soon(drive, body)

    trio.run(main)
    return scene.end()


def anyio_on_asyncio(path: str) -> dict[str, Any]:
    """Run tasks of anyio on asyncio."""
    return with_anyio(path, "asyncio")


def anyio_on_trio(path: str) -> dict[str, Any]:
    """Run tasks of anyio on trio."""
    return with_anyio(path, "trio")


def with_anyio(path: str, backend: str) -> dict[str, Any]:
    import anyio
    import anyio.to_thread

    scene = Scene(path)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for body in Kit(anyio.Event, lambda: anyio.sleep(0), anyio.to_thread.run_sync).bodies(scene):
                group.start_soon(drive, body)

    anyio.run(main, backend=backend)
    return scene.end()


def twisted_coroutines(path: str) -> dict[str, Any]:
    """Run coroutines of Twisted."""
    from twisted.internet import defer

    return with_twisted(path, lambda body: defer.Deferred.fromCoroutine(drive(body)))


def twisted_generators(path: str) -> dict[str, Any]:
    """Run generators of Twisted."""
    from twisted.internet import defer

    return with_twisted(path, lambda body: defer.inlineCallbacks(body)())


def with_twisted(path: str, start: Callable[[Callable[[], Steps]], Any]) -> dict[str, Any]:
    from twisted.internet import defer, reactor, task, threads

    loop: Any = reactor
    scene = Scene(path)
    failures: list[Any] = []

    class Event:
        def __init__(self) -> None:
            self.waiting: list[defer.Deferred[None]] = []

        def set(self) -> None:
            for each in self.waiting:
                loop.callLater(0, each.callback, None)

        def wait(self) -> defer.Deferred[None]:
            self.waiting.append(defer.Deferred())
            return self.waiting[-1]

    def begin() -> None:
        kit = Kit(Event, lambda: task.deferLater(loop, 0), threads.deferToThread)
        together = defer.gatherResults([start(body) for body in kit.bodies(scene)])
        together.addErrback(failures.append)
        together.addBoth(lambda _: loop.stop())

    loop.callWhenRunning(begin)
    loop.run()
    assert not failures, failures
    return scene.end()


def tornado_coroutines(path: str) -> dict[str, Any]:
    """Run coroutines of Tornado."""
    return with_tornado(path, drive)


def tornado_generators(path: str) -> dict[str, Any]:
    """Run generators of Tornado: the first step of each is done in the task of its caller, the others in none."""
    from tornado import gen

    return with_tornado(path, lambda body: gen.coroutine(body)())


def with_tornado(path: str, start: Callable[[Callable[[], Steps]], Any]) -> dict[str, Any]:
    from tornado import gen, ioloop, locks

    scene = Scene(path)

    def in_thread(work: Callable[[], None]) -> Any:
        return ioloop.IOLoop.current().run_in_executor(None, work)

    async def main() -> None:
        kit = Kit(locks.Event, lambda: gen.sleep(0), in_thread)
        await gen.multi([start(body) for body in kit.bodies(scene)])

    asyncio.run(main())
    return scene.end()


def tasks_of_asyncio(path: str) -> dict[str, Any]:
    """Run tasks of asyncio."""
    scene = Scene(path)

    async def main() -> None:
        kit = Kit(asyncio.Event, lambda: asyncio.sleep(0), asyncio.to_thread)
        bodies: list[Coroutine[Any, Any, None]] = [drive(body) for body in kit.bodies(scene)]
        await asyncio.gather(*bodies)

    asyncio.run(main())
    return scene.end()

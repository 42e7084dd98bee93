"""A Python thread that has something to do twice a millisecond, and notices when it cannot."""

from __future__ import annotations

import threading
import time

NAP = 0.0005


class Watcher:
    """Watches from its creation until it is stopped."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._stopped = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        self._ready.wait()

    def stop(self) -> float:
        """Return the longest time, in seconds, that the thread had to wait beyond its nap."""
        self._stopped.set()
        self._thread.join()
        return self.longest

    def _watch(self) -> None:
        before = time.perf_counter()
        self._ready.set()
        while not self._stopped.is_set():
            time.sleep(NAP)
            now = time.perf_counter()
            self.longest = max(self.longest, now - before - NAP)
            before = now

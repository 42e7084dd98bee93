"""A proxy before a PostgreSQL server: makes every way there and back as long as it is told, and counts the waits."""

from __future__ import annotations

import argparse
import queue
import socket
import subprocess
import sys
import threading
import time
from typing import Self

WAITS = (b"Q", b"S", b"H")
"""What a client sends and then waits: a simple query, Sync, Flush. A Flush right behind a Sync is none."""


class Proxy:
    """A process with a proxy in it, from `__enter__` to `__exit__`."""

    def __init__(self, port: int, round_trip: float) -> None:
        self._command = [sys.executable, "-m", "benches.proxy", str(port), str(round_trip)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = self._number()
        return self

    def waits(self) -> int:
        """Return how often a client has begun to wait for the server so far."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._number()

    def _number(self) -> int:
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class Line:
    """One way of one connection: what comes is sent on after a while, in order."""

    def __init__(self, source: socket.socket, to: socket.socket, delay: float, count: bool) -> None:
        self._source, self._to, self._delay = source, to, delay
        self._queue: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        self._count = count
        self._left = 0
        self._head = b""
        self._last = b""
        self._started = False
        self.waits = 0
        for work in (self._take, self._send):
            threading.Thread(target=work, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                data = self._source.recv(1 << 18)
            except OSError:
                data = b""
            if self._count and data:
                self._look(data)
            self._queue.put((time.perf_counter() + self._delay, data))
            if not data:
                return

    def _send(self) -> None:
        while True:
            due, data = self._queue.get()
            time.sleep(max(0.0, due - time.perf_counter()))
            try:
                if not data:
                    self._to.shutdown(socket.SHUT_WR)
                    return
                self._to.sendall(data)
            except OSError:
                return

    def _look(self, data: bytes) -> None:
        """Count the messages that are waited for. The first, of the start, has no letter."""
        at = 0
        while at < len(data):
            skipped = min(self._left, len(data) - at)
            self._left -= skipped
            at += skipped
            if self._left:
                return
            wanted = (5 if self._started else 4) - len(self._head)
            self._head += data[at : at + wanted]
            at += wanted
            if len(self._head) < (5 if self._started else 4):
                return
            if self._started:
                self.waits += self._head[:1] in WAITS and (self._last, self._head[:1]) != (b"S", b"H")
                self._last = self._head[:1]
            self._left = int.from_bytes(self._head[-4:], "big") - 4
            self._head, self._started = b"", True


def main() -> None:
    """Listen, say where, and say how often was waited whenever a line comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("round_trip", type=float)
    options = parser.parse_args()
    lines: list[Line] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", options.port))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines.append(Line(client, server, options.round_trip / 2, count=True))
            Line(server, client, options.round_trip / 2, count=False)

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    for _ in sys.stdin:
        print(sum(line.waits for line in lines), flush=True)


if __name__ == "__main__":
    main()

"""A proxy between stores and a server, which delays, cuts and swallows what goes through it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Self

_CHUNK = 1 << 16
_NOW = struct.pack("ii", 1, 0)
"""Linger for no time: the other end is told of a reset."""


class _Link:
    """One connection that goes through."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.left: int | None = None
        """How many bytes of the answer still go through before it is cut; None if it is not to be cut."""

    def close(self, *, reset: bool = False) -> None:
        """Close both ends."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW)
                else:
                    end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """A port that leads to another.

    Attributes
    ----------
    delay
        Seconds that each packet is kept, in each direction.
    cuts
        How many answers were cut.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.delay = 0.0
        self.cuts = 0
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._links: set[_Link] = set()
        self._marker: bytes | None = None
        self._passing, self._forwarded, self._times, self._then_swallow = 0, True, 0, False

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._flows.set()
        self.cut()

    def cut(self, *, reset: bool = False) -> None:
        """Close all connections."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close(reset=reset)

    def swallow(self) -> None:
        """Pass nothing on, and tell nobody, until `pass_on`."""
        self._flows.clear()

    def pass_on(self) -> None:
        """Pass on what comes, and what was swallowed."""
        self._flows.set()

    def cut_answers(
        self, marker: bytes, *, passing: int = 0, times: int = 1, forwarded: bool = True, then_swallow: bool = False
    ) -> None:
        """Cut a connection whose client sends this.

        Parameters
        ----------
        marker
            What the packet has in it.
        passing
            How many bytes of the answer still go through.
        times
            How often.
        forwarded
            Whether the packet reaches the server, and its answer is waited for.
        then_swallow
            Whether nothing else goes through after that.
        """
        with self._lock:
            self._marker, self._passing, self._times, self._forwarded = marker, passing, times, forwarded
            self._then_swallow = then_swallow

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=[client], daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._flows.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        link = _Link(client, server)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._links.add(link)
        threading.Thread(target=self._pump, args=[link, server, client], daemon=True).start()
        self._pump(link, client, server)

    def _pump(self, link: _Link, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK):
                if self.delay:
                    time.sleep(self.delay)
                self._flows.wait()
                ends = False
                if source is link.client:
                    data = self._of_client(link, data)
                else:
                    data, ends = self._of_server(link, data)
                sink.sendall(data)
                if ends:
                    self.cuts += 1
                    if self._then_swallow:
                        self.swallow()
                    break
        except OSError:
            pass
        link.close()
        with self._lock:
            self._links.discard(link)

    def _of_client(self, link: _Link, data: bytes) -> bytes:
        with self._lock:
            if self._marker is None or self._marker not in data:
                return data
            self._times -= 1
            if not self._times:
                self._marker = None
            if not self._forwarded:
                self.cuts += 1
                raise OSError
            link.left = self._passing
            return data

    def _of_server(self, link: _Link, data: bytes) -> tuple[bytes, bool]:
        """Return what goes through, and whether it is cut behind that."""
        if link.left is None:
            return data, False
        data = data[: link.left]
        link.left -= len(data)
        return data, link.left == 0

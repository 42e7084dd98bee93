"""A connection a thread, and all of them closed together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closeable(Protocol):
    """Whatever a thread can have of its own."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closeable)


class PerThread(Generic[C]):
    """Opens what a thread asks for when it first does."""

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._local = threading.local()
        self._opened: list[C] = []

    def get(self) -> C:
        try:
            connection: C = self._local.connection
        except AttributeError:
            connection = self._local.connection = self._connect()
            self._opened.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._opened:
            connection.close()

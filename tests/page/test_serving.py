"""How a page is served: without delay, and by a process that gives way to what writes."""

from __future__ import annotations

import asyncio
import socket

from orchestrator.state_store._page import serving


def test_an_answer_does_not_wait_for_an_acknowledgement() -> None:
    """Guards against Nagle's algorithm: the body of each answer came 40 ms late, as clients acknowledge late."""

    async def is_off() -> int:
        served: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
        with serving._listening(0) as listener:
            async with await asyncio.start_server(lambda _, writer: served.set_result(writer), sock=listener):
                _, client = await asyncio.open_connection(*listener.getsockname())
                connection = (await served).get_extra_info("socket")
                found: int = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                client.close()
                (await served).close()
                return found

    assert asyncio.run(is_off())

"""How a page is served: without delay, and by a process that gives way to what writes."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from orchestrator.state_store._page import serving

SAY_PRIORITIES = """
import contextlib, os, sys, urllib.error, urllib.request, webbrowser
from pathlib import Path
from orchestrator.state_store._page import serve

def browse(uri):
    page = Path(uri.removeprefix("file://")).read_text()
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(page.partition("url=")[2].partition("?")[0])
    print(*(os.getpriority(os.PRIO_PROCESS, each) for each in (0, os.getpid())), flush=True)

webbrowser.open = browse
serve(sys.argv[1], decide=len(sys.argv) > 2)
"""


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


@pytest.mark.parametrize("decide", [False, True])
def test_what_only_reads_gives_way_and_the_browser_does_not(filled: Path, decide: bool) -> None:
    """Guards against a writer that waits for the processor beside a page, and a browser that is slow for all it does.

    What writes holds the lock of all writers meanwhile, so it must not wait for the processor.
    """
    command = [sys.executable, "-c", SAY_PRIORITIES, str(filled), *["--decide"] * decide]
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        _, _, said = (process.stdout.readline() for _ in range(3))
        process.terminate()
    assert said.split() == [str(own), str(own if decide else min(19, own + 19))]

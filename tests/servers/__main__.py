"""Start a server, print its URL, and keep it until Ctrl-C."""

import contextlib
import signal

from tests.servers import Server

with Server() as server, contextlib.suppress(KeyboardInterrupt):
    print(server.url, flush=True)
    signal.pause()

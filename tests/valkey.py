"""A Valkey server that lives as long as the test run and listens on a Unix socket only."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control.embedded import valkey

START_SECONDS_MAX = 30


@contextmanager
def running() -> Iterator[str]:
    """Yield the server's URL."""
    with tempfile.TemporaryDirectory(prefix="vk-", dir="/tmp") as name:
        socket = Path(name, "valkey.sock")
        options = {**valkey.OPTIONS, "unixsocket": str(socket), "dir": name}
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        server = subprocess.Popen([str(valkey.program()), *arguments], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + START_SECONDS_MAX
            while not socket.exists():
                assert server.poll() is None, "valkey ended"
                assert time.monotonic() < deadline, "valkey did not start"
                time.sleep(0.02)
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait()

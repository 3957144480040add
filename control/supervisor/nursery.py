"""``python -m control.supervisor.nursery PARENT``: has imported everything, and forks who asks.

Importing is most of what a process of ours computes before it serves. This one does it once, opens nothing
and starts no thread, so that what it forks is as good as new. It forks twice: the one in between ends, and
the kernel gives the other to PARENT, the supervisor, whose child it is from then on, whatever becomes of us.
"""

import ctypes
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client.multiprocess import mark_process_dead
from setproctitle import setproctitle

from config import settings
from control.embedded.launch import PR_SET_PDEATHSIG
from control.supervisor import child
from control.supervisor.contract import tell_ready

ORDER_BYTES_MAX = 1 << 17
DESCRIPTORS_MAX = 8
STDOUT = 1


@dataclass(frozen=True, slots=True)
class Order:
    """One process to make."""

    title: str
    argv: Sequence[str]
    environment: dict[str, str]
    names: Sequence[str]
    """Variables for the numbers of the files that come with it, in the same order."""
    output: int
    """To be its standard output."""
    files: Sequence[int]
    made_by: int


def main() -> None:
    # A Ctrl-C or a SIGHUP is for the supervisor to act on.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    parent = int(sys.argv[1])
    line = socket.socket(fileno=int(settings.environment({})["NURSERY_DESCRIPTOR"]))
    forget_numbers()
    # What is there now is there for ever, and is not copied because the collector has looked at it.
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, "a thread does not survive a fork, and its locks do"
    tell_ready()
    order = wait_for_orders(line)
    if order is not None:
        line.close()
        be_born(order, parent)
        child.main(order.argv)


def forget_numbers() -> None:
    """Importing made files for our gauges, and we are no process whose numbers anybody wants."""
    directory = settings.environment({}).get("PROMETHEUS_MULTIPROC_DIR")
    if directory is not None:
        mark_process_dead(os.getpid(), directory)  # type: ignore[no-untyped-call]


def wait_for_orders(line: socket.socket) -> Order | None:
    """Returns in each process that was ordered, and with None when the supervisor hung up."""
    while True:
        data, files, _, _ = socket.recv_fds(line, ORDER_BYTES_MAX, DESCRIPTORS_MAX)
        if not data:
            return None
        reading, writing = os.pipe()
        between = os.fork()
        if not between:
            made_by = os.getpid()
            pid = os.fork()
            if not pid:
                os.close(reading)
                os.close(writing)
                return Order(**json.loads(data), output=files[0], files=files[1:], made_by=made_by)
            os.write(writing, str(pid).encode())
            os._exit(0)
        for file in (*files, writing):
            os.close(file)
        # It has a new parent before that one hears of it, and can be waited for.
        os.waitpid(between, 0)
        line.send(os.read(reading, 20))
        os.close(reading)


def be_born(order: Order, parent: int) -> None:
    os.setsid()
    os.dup2(order.output, STDOUT)
    os.close(order.output)
    while os.getppid() == order.made_by:
        time.sleep(0.0005)
    # Only now: the kernel would take the end of the one in between for its parent's.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("its parent died while it was started")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # The files keep the numbers that they came with: others are those of files that importing has opened.
    numbers = {name: str(file) for name, file in zip(order.names, order.files, strict=True)}
    settings.adopt({**order.environment, **numbers})
    setproctitle(order.title)


if __name__ == "__main__":
    main()

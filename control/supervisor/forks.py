"""Processes that are forked from one that has everything imported: ready in a fraction of the time.

``nursery.py`` is that one, and says how. Here is the supervisor's side: it asks for a process, and has a
``Process`` like any other.
"""

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from control.embedded.processes import Command, Process, StartFailed
from control.supervisor import workers
from gateway.kit import tasks

PROGRAM = (sys.executable, "-P", "-m", "control.supervisor.nursery")
PR_SET_CHILD_SUBREAPER = 36
STDOUT = 1
# A fork takes milliseconds; who takes longer is stopped or broken.
ANSWER_SECONDS_MAX = 10.0


def is_possible() -> bool:
    """Not elsewhere than on Linux, and not with a kernel from before 5.3."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


class Nursery:
    """Whom to ask for a process, while it is there."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        # SPT_NOENV: a title must not overwrite the environment, by which processes are known from outside.
        self.variables = {**variables, "SPT_NOENV": "1"}
        self.line: socket.socket | None = None
        self.process: Process | None = None
        self.there = asyncio.Event()
        self.one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Process]:
        """Entered when it has imported everything."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        async with AsyncExitStack() as stack:
            stack.enter_context(ours)
            with theirs:
                command = Command(
                    "nursery",
                    (*PROGRAM, str(os.getpid())),
                    self.variables,
                    Path.cwd(),
                    descriptors={"NURSERY_DESCRIPTOR": theirs.fileno()},
                    is_ours=True,
                )
                process = await stack.enter_async_context(workers.working(command))
            self.line, self.process = ours, process
            self.there.set()
            try:
                yield process
            finally:
                # Its successor may be there already.
                if self.line is ours:
                    self.lose()

    @asynccontextmanager
    async def running(
        self, command: Command, on_line: Callable[[str], None], on_exit: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Process]:
        """Like ``processes.running``, for what ``child.py`` does: ``argv`` is what that is told."""
        process = Process(command, on_line, on_exit)
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb", buffering=0) as output:
            try:
                pid = await tasks.finish(self.ask(command, writing), dismiss)
            finally:
                os.close(writing)
            Forked(pid, process)
            loop = asyncio.get_running_loop()
            pipe, _ = await loop.connect_read_pipe(lambda: Output(process), output)
            try:
                yield process
            finally:
                await tasks.finish(process.stop())
                pipe.close()

    async def ask(self, command: Command, output: int) -> int:
        """The number of a new process, which is a child of ours."""
        order = {
            # What ps shows. The port tells installations apart.
            "title": f"farebox: {command.name}, port {command.environment['FAREBOX_LISTEN__PORT']}",
            "argv": command.argv,
            "environment": dict(command.environment),
            "names": tuple(command.descriptors),
        }
        async with self.one_at_a_time:
            try:
                async with asyncio.timeout(workers.START_SECONDS_MAX):
                    await self.there.wait()
            except TimeoutError:
                raise StartFailed(f"The {command.name} has nothing to be forked from.") from None
            answer = await self.answer(json.dumps(order).encode(), [output, *command.descriptors.values()])
        if not answer:
            raise StartFailed(f"The {command.name} lost the process that it is forked from.")
        return int(answer)

    async def answer(self, order: bytes, descriptors: list[int]) -> bytes:
        assert self.line is not None, "there"
        # Only meanwhile: else what a killed PostgreSQL leaves would be ours to bury as well.
        adopt_orphans(is_on=True)
        try:
            socket.send_fds(self.line, [order], descriptors)
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await asyncio.get_running_loop().sock_recv(self.line, 20)
        except OSError:
            # A late answer must not be taken for one to the next order: that is for another one to give.
            if self.process is not None:
                self.process.kill()
            self.lose()
            return b""
        finally:
            adopt_orphans(is_on=False)

    def lose(self) -> None:
        self.line = None
        self.there.clear()


class Forked(asyncio.SubprocessTransport):
    """What asyncio has for processes that it started itself."""

    def __init__(self, pid: int, process: Process) -> None:
        super().__init__()
        self.pid, self.process = pid, process
        self.status: int | None = None
        self.descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self.descriptor, self.bury)
        process.connection_made(self)

    def bury(self) -> None:
        asyncio.get_running_loop().remove_reader(self.descriptor)
        os.close(self.descriptor)
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.process.process_exited()

    def get_pid(self) -> int:
        return self.pid

    def get_returncode(self) -> int | None:
        return self.status

    def send_signal(self, signal: int) -> None:
        # Nobody else has its number before it is buried.
        if self.status is None:
            os.kill(self.pid, signal)

    def close(self) -> None:
        """There is nothing to close: whoever stops a process waits for its end."""


class Output(asyncio.Protocol):
    """What a process writes."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def data_received(self, data: bytes) -> None:
        self.process.pipe_data_received(STDOUT, data)


async def dismiss(pid: int) -> None:
    """It came when nobody waited for it any more."""
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, pid, 0)


def adopt_orphans(*, is_on: bool) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(is_on), 0, 0, 0)

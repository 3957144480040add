"""One server process. It outlives the process that started it, so another one can take it over."""

import asyncio
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from control.computes import cgroups, settings
from control.computes.derive import rules_of
from control.computes.files import Place, Store, write_rules
from control.computes.provider import ComputeSpec, StopMode
from control.computes.units import limits
from control.embedded import binaries, directory, orphans, postgres
from control.embedded.processes import StartFailed

POLL_SECONDS = 0.002
START_SECONDS_MAX = 60.0
RECOVERY_SECONDS_MAX = 900.0
STOP_SECONDS = {"fast": 60.0, "immediate": 0.0}

# The kernel, out of memory, is to end a tenant's server before the ledger's.
OOM_SCORE = "500"

CONFINE = (
    'ulimit -v "$1"; ulimit -n "$2"; ulimit -c 0; echo "$3" > /proc/self/oom_score_adj; shift 3; exec "$@"'
)

LAST_BYTES = 2048
LOG_BYTES_MAX = 8 << 20


class Postmaster:
    """Known by a descriptor of the process, which never comes to mean another one, as its number does."""

    def __init__(self, pid: int, sockets: Path) -> None:
        self.pid, self.sockets = pid, sockets
        self.descriptor = os.pidfd_open(pid)
        self.exited = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.descriptor, self.ended)

    def ended(self) -> None:
        self.release()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        self.exited.set()

    def send(self, number: signal.Signals) -> None:
        if self.descriptor >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.descriptor, number)

    def release(self) -> None:
        """Leave it to itself, or to whoever comes."""
        if self.descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self.descriptor)
            os.close(self.descriptor)
            self.descriptor = -1

    async def stop(self, mode: StopMode) -> None:
        for number, seconds in (
            (signal.SIGINT, STOP_SECONDS[mode]),
            (signal.SIGQUIT, 5.0),
            (signal.SIGKILL, 30.0),
        ):
            if self.exited.is_set() or seconds == 0:
                continue
            self.send(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.exited.wait()


async def launch(
    store: Store, place: Place, uid: int | None, spec: ComputeSpec, *, is_full: bool
) -> Postmaster:
    """Start the server; returns when it accepts connections."""
    if (place.data / "postmaster.pid").exists():
        # It was not stopped in good order: what is left of it must be gone before another one begins.
        await orphans.outlive(place.data)
    sockets = store.socket_directory(place.root.name, uid)
    write_rules(place, is_full=is_full)
    server = Postmaster(spawn(store, place, uid, spec, sockets), sockets)
    try:
        await wait_until_ready(place, server)
    except BaseException:
        await server.stop("immediate")
        raise
    return server


def spawn(store: Store, place: Place, uid: int | None, spec: ComputeSpec, sockets: Path) -> int:
    data, beside = directory.address_of(place.data, uid), store.beside(place, uid)
    options = dict(settings.serving(spec.units, str(sockets), is_logical=spec.is_logical)) | rules_of(beside)
    options["config_file"] = f"{beside}/{settings.CHANGING}"
    options["extension_control_path"] = f"{store.trusted(uid)}:$system"
    argv = confined(spec, (str(store.programs / "postgres"), "-D", data, *settings.arguments(options)))
    with open_log(place.root / "log") as log:
        process = subprocess.Popen(  # noqa: S603 - the program is ours, and there is no shell
            argv, cwd=place.data, env=binaries.ENVIRONMENT, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            user=uid, group=uid, extra_groups=None if uid is None else [],
        )  # fmt: skip
    # ``Postmaster`` collects its end, by number.
    process.returncode = 0
    return process.pid


def confined(spec: ComputeSpec, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command behind a shell that sets its own limits and becomes it.

    Ours would do for no process of another user: not every container's root may set theirs.
    """
    bounds = limits(spec.units)
    kilobytes = bounds.address_space_bytes // 1024
    return ("/bin/sh", "-c", CONFINE, "sh", str(kilobytes), str(bounds.files), OOM_SCORE, *argv)


def open_log(path: Path) -> BinaryIO:
    is_long = path.exists() and path.stat().st_size > LOG_BYTES_MAX
    return path.open("wb" if is_long else "ab")


def last_lines(place: Place) -> list[str]:
    """Of what the server said: a start that fails says why in a few lines."""
    with (place.root / "log").open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - LAST_BYTES))
        return log.read().decode(errors="replace").splitlines()


async def wait_until_ready(place: Place, server: Postmaster) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while True:
        if server.exited.is_set():
            raise StartFailed(f"the server of {place.root.name} did not start; see {place.root / 'log'}")
        status = postgres.pid_file(place.data)
        is_ours = status[:1] == [str(server.pid)]
        if is_ours and status[7:8] == ["ready"]:
            return
        if loop.time() - begin > (RECOVERY_SECONDS_MAX if is_ours else START_SECONDS_MAX):
            raise StartFailed(f"the server of {place.root.name} does not become ready")
        await asyncio.sleep(POLL_SECONDS)


def adopt(store: Store, place: Place) -> Postmaster | None:
    """The server that an earlier process left running, or None.

    What its pid file says is the server's word: where its sockets are, and so what is removed afterwards, is
    not taken from there. The number in it may be a stranger's by now. What the server alone does is work in
    its data directory, and a descriptor that was opened before that is seen cannot change its meaning
    afterwards.
    """
    status = postgres.pid_file(place.data)
    if len(status) < 8 or status[7] != "ready" or not status[0].isdigit():
        return None
    try:
        server = Postmaster(int(status[0]), store.sockets_of(place.root.name))
    except (OSError, OverflowError, ValueError):
        return None
    if orphans.works_in(orphans.PROC / status[0], place.data.stat()):
        return server
    server.release()
    return None


def clear_up(store: Store, timeline: str, server: Postmaster) -> None:
    """What it had besides its data."""
    shutil.rmtree(server.sockets, ignore_errors=True)
    cgroups.let_go(store.groups, timeline)

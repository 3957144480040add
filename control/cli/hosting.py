"""What the command that runs databases alone does. Of its own, as no other command needs what it imports."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config import logging, settings
from config.computes import Computes
from control.embedded.processes import StartFailed
from control.roles.hosting import host


def serve(config: Path | None, data_dir: Path | None, listen: str | None) -> None:
    chosen = settings.load(config)
    if listen is not None:
        given = chosen.computes.model_dump() | {"listen": listen}
        try:
            chosen = chosen.model_copy(update={"computes": Computes.model_validate(given)})
        except ValidationError as error:
            raise StartFailed(f"--listen {listen}: {error.errors()[0]['msg']}.") from None
    if data_dir is not None:
        chosen = chosen.model_copy(update={"data_dir": data_dir})
    logging.configure(chosen.log_format, chosen.log_level)
    work = host(chosen, on_ready=lambda path: print(f"farebox ready: databases at unix:{path}", flush=True))
    asyncio.run(until_stopped(work))


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await work

"""The agent that runs projects' databases, as a process of ``farebox up``.

It ends last: whoever asks it has ended by then. Two may not have one directory, so that it
goes before its successor comes; the databases stay meanwhile.
"""

import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from config.settings import Settings
from control.computes import files
from control.embedded import directory, processes
from control.supervisor import workers

# After the others' time. A database that it has told to stop by then stops without it.
STOP_SECONDS = 5.0


def is_ours(settings: Settings) -> bool:
    """Elsewhere than on Linux there is none, and the settings may name somebody else's."""
    return settings.computes.url is None and sys.platform == "linux"


def url(data: Path) -> str:
    """Where the agent of this data directory is to listen."""
    root = data / "computes"
    root.mkdir(mode=directory.MODE, exist_ok=True)
    return f"unix:{files.agent_socket(root)}"


def start(
    run: workers.Run, program: tuple[str, ...], config: tuple[str, ...], own: Mapping[str, str]
) -> processes.Start:
    command = replace(
        workers.command("computes", (*program, "computes", *config), own),
        stops=((signal.SIGTERM, STOP_SECONDS),),
        renewal=signal.SIGHUP,
    )
    return partial(workers.working, command, None, run)

"""What went wrong, in a sentence on standard error."""

import asyncio
import logging
import sys
from collections.abc import Callable

log = logging.getLogger(__name__)


class Sorry(Exception):
    """A command cannot do what it was asked; the text is for whoever typed it."""


def speak_plainly(run: Callable[[], object]) -> None:
    """Turn whatever goes wrong into a sentence and exit code 1."""
    try:
        run()
    except Exception as error:
        # The last place: an operator gets a sentence, and the traceback on asking for it.
        cause = first(error)
        if isinstance(cause, expected()):
            fail(str(cause))
        log.debug("the command failed", exc_info=error)
        fail(f"{type(cause).__name__}: {cause} (FAREBOX_LOG_LEVEL=debug shows where)")


def expected() -> tuple[type[BaseException], ...]:
    from config.settings import SettingsError
    from control.embedded.directory import DirectoryUnusable
    from control.embedded.processes import StartFailed
    from control.migrate import SchemaError
    from control.supervisor.ports import PortTaken

    return Sorry, SettingsError, DirectoryUnusable, StartFailed, SchemaError, PortTaken


def first(error: BaseException) -> BaseException:
    """Groups of processes fail as groups; the first failure is the reason for the rest."""
    while isinstance(error, BaseExceptionGroup):
        error = next((one for one in error.exceptions if not is_cancellation(one)), error.exceptions[0])
    return error


def is_cancellation(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError)


def fail(sentence: str) -> None:
    print(f"farebox: {sentence}", file=sys.stderr)
    sys.exit(1)

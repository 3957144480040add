"""``farebox outbox``: mail that was not sent, for the operator to read."""

from typing import Annotated

import typer

from control.cli.servers import Config, DataDir


def outbox(
    letter_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Show this letter, links and all.")
    ] = None,
    with_sent: Annotated[bool, typer.Option("--all", help="List what was sent, too.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """List mail that waits to be sent, newest first, or show one letter.

    Without FAREBOX_MAIL__HOST all mail waits here. A letter may have a link that signs somebody in: it is
    gone once it was sent, and the rest of it after a week.
    """
    from control.cli import letters

    letters.show(letter_id, data_dir, config, with_sent=with_sent)

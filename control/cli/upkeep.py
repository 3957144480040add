"""The commands that look after an installation."""

from typing import Annotated

import typer

from control.cli.servers import Config, DataDir

secrets = typer.Typer(
    no_args_is_help=True,
    help="Make and change the keys that publishers' credentials are encrypted with.",
)


def migrate(data_dir: DataDir = None, config: Config = None) -> None:
    """Bring the database's schema up to date, before new replicas start.

    Prints the name of each migration that was applied. Running it twice, or twice at once, does no harm.
    "farebox up" does it by itself.
    """
    from control.cli import installation

    installation.migrate(data_dir, config)


def openapi() -> None:
    """Print the OpenAPI document of the management API."""
    from control.cli import installation

    installation.print_openapi()


def doctor(data_dir: DataDir = None, config: Config = None) -> None:
    """Check this machine, the settings and everything they point at, and say how to mend what is wrong.

    Prints one line for each check. Exits with 1 if something is wrong.
    """
    from control.cli import installation

    if not installation.is_well(data_dir, config):
        raise typer.Exit(1)


@secrets.command("new", epilog="Example: farebox secrets new 2026-11")
def new_key(
    name: Annotated[
        str, typer.Argument(help="A name to know it by: letters, digits, dots, dashes.")
    ] = "default",
) -> None:
    """Print a new key, to be put first in FAREBOX_SECRETS__KEYS."""
    from gateway.kit import crypto

    try:
        print(crypto.new_key(name))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@secrets.command(epilog="Example: farebox secrets rotate")
def rotate(data_dir: DataDir = None, config: Config = None) -> None:
    """Encrypt every stored credential anew with the newest key, so that older keys can be removed.

    Put a key from "farebox secrets new" first in FAREBOX_SECRETS__KEYS, or in the file secrets.key in the
    data directory, and restart every process; then run this; then remove the old keys and restart again.
    """
    from control.cli import installation

    installation.rotate(data_dir, config)

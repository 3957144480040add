"""The command ``farebox``. Each command is a few lines here; what it does is elsewhere."""

from importlib.metadata import version
from typing import Annotated

import typer

from control.cli import books, demo, outbox, pay, projects, servers, upkeep
from control.cli.errors import speak_plainly

app = typer.Typer(
    name="farebox",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: farebox up",
)
app.command(epilog="Example: farebox up --port 9000 --workers 4 --data-dir ./data")(servers.up)
app.command(epilog="Example: farebox gateway --workers 4 --config farebox.toml")(servers.gateway)
app.command(epilog="Example: farebox control --port 8403")(servers.control)
app.command(epilog="Example: farebox pgproxy --host 0.0.0.0 --workers 2")(servers.pgproxy)
app.command(epilog="Example: FAREBOX_POSTGRES__DSN=postgresql://… farebox worker")(servers.worker)
app.command(epilog="Example: FAREBOX_COMPUTES__KEY=… farebox computes --listen 0.0.0.0:8404")(
    servers.computes
)
app.command(epilog="Example: farebox demo --stay")(demo.demo)
app.command(
    epilog="Example: FAREBOX_PAY_KEY=0x… farebox pay https://host/publishers/slug/path --max-price 0.05"
)(pay.pay)
app.command(epilog="Example: FAREBOX_POSTGRES__DSN=postgresql://… farebox migrate")(upkeep.migrate)
app.command(epilog="Example: farebox openapi > openapi.json")(upkeep.openapi)
app.command(epilog="Example: farebox outbox")(outbox.outbox)
app.command(epilog="Example: farebox reconcile --days 7")(books.reconcile)
app.command(epilog="Example: farebox doctor --config farebox.toml")(upkeep.doctor)
app.add_typer(projects.projects, name="projects")
app.add_typer(upkeep.secrets, name="secrets")


def print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(version("farebox"))
        raise typer.Exit


@app.callback()
def farebox(
    is_version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A gateway that AI agents call APIs through, and pay for each call.

    `farebox up` runs all of it on one machine. Every setting is a variable FAREBOX_…, or a line in the file
    given with --config.
    """


def main() -> None:
    speak_plainly(lambda: app(prog_name="farebox"))


if __name__ == "__main__":
    main()

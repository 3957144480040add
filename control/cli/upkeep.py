"""The commands that look after an installation."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from config import settings
from config.settings import Settings, SettingsError
from control import doctor as examination
from control import migrate as migrations
from control.api import openapi as document
from control.cli.servers import Config, DataDir
from control.embedded.processes import StartFailed
from control.providers import jobs as providers
from control.publishers import jobs as publishers
from control.rooms import ROOMS
from control.supervisor import keys
from control.webhooks import jobs as webhooks
from gateway import connections
from gateway.kit import crypto, sql

secrets = typer.Typer(
    no_args_is_help=True,
    help="Make and change the keys that publishers' credentials are encrypted with.",
)


def migrate(data_dir: DataDir = None, config: Config = None) -> None:
    """Bring the database's schema up to date, before new replicas start.

    Prints the name of each migration that was applied. Running it twice, or twice at once, does no harm.
    "farebox up" does it by itself.
    """
    for name in asyncio.run(migrations.migrate(dsn_of(load(config, data_dir)))):
        print(name)


def openapi() -> None:
    """Print the OpenAPI document of the management API."""
    print(json.dumps(document.document(ROOMS), indent=1))


def doctor(data_dir: DataDir = None, config: Config = None) -> None:
    """Check this machine, the settings and everything they point at, and say how to mend what is wrong.

    Prints one line for each check. Exits with 1 if something is wrong.
    """
    try:
        chosen = load(config, data_dir)
    except SettingsError as error:
        show(examination.Finding("settings", str(error), "Correct the variable, or the line in the file."))
        raise typer.Exit(1) from None
    show(examination.Finding("settings", "valid"))
    if not asyncio.run(examine(chosen)):
        raise typer.Exit(1)


async def examine(chosen: Settings) -> bool:
    is_well = True
    async for finding in examination.examine(chosen):
        show(finding)
        is_well = is_well and finding.remedy is None
    return is_well


def show(finding: examination.Finding) -> None:
    if finding.remedy is None:
        print(f"ok     {finding.subject}: {finding.detail}", flush=True)
    else:
        print(f"wrong  {finding.subject}: {finding.detail}\n       {finding.remedy}", flush=True)


@secrets.command("new", epilog="Example: farebox secrets new 2026-11")
def new_key(
    name: Annotated[
        str, typer.Argument(help="A name to know it by: letters, digits, dots, dashes.")
    ] = "default",
) -> None:
    """Print a new key, to be put first in FAREBOX_SECRETS__KEYS."""
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
    chosen = load(config, data_dir)
    count = asyncio.run(reseal(dsn_of(chosen), keyring_of(chosen)))
    print(f"{count} encrypted anew")


async def reseal(dsn: str, keyring: crypto.Keyring) -> int:
    await migrations.check(dsn)
    async with sql.create_pool(dsn, size_max=2) as pool:
        kinds = (publishers.reseal, webhooks.reseal, providers.reseal, connections.reseal)
        return sum([await one(pool, keyring) for one in kinds])


def keyring_of(chosen: Settings) -> crypto.Keyring:
    found = [key.get_secret_value() for key in chosen.secrets.keys]
    path = examination.data_of(chosen) / keys.NAME
    try:
        return crypto.Keyring.parse(found or keys.stored(path))
    except (OSError, ValueError) as error:
        raise SettingsError(f"FAREBOX_SECRETS__KEYS, or {path}: {error}") from None


def load(config: Path | None, data_dir: Path | None) -> Settings:
    chosen = settings.load(config)
    return chosen if data_dir is None else chosen.model_copy(update={"data_dir": data_dir})


def dsn_of(chosen: Settings) -> str:
    dsn = examination.dsn_of(chosen)
    if dsn is None:
        raise StartFailed(
            f"FAREBOX_POSTGRES__DSN is not set, and no farebox runs in {examination.data_of(chosen)}."
        )
    return dsn

"""What the commands that look after an installation do."""

import asyncio
import json
from pathlib import Path

from config import settings
from config.settings import Settings, SettingsError
from control import doctor as examination
from control import migrate as migrations
from control.api import openapi as document
from control.embedded.processes import StartFailed
from control.finding import Finding
from control.postgres import roles
from control.providers import jobs as providers
from control.publishers import jobs as publishers
from control.rooms import ROOMS
from control.supervisor import keys
from control.webhooks import jobs as webhooks
from gateway import connections
from gateway.kit import crypto, sql


def migrate(data_dir: Path | None, config: Path | None) -> None:
    for name in asyncio.run(migrations.migrate(dsn_of(load(config, data_dir)))):
        print(name)


def print_openapi() -> None:
    print(json.dumps(document.document(ROOMS), indent=1))


def is_well(data_dir: Path | None, config: Path | None) -> bool:
    try:
        chosen = load(config, data_dir)
    except SettingsError as error:
        show(Finding("settings", str(error), "Correct the variable, or the line in the file."))
        return False
    show(Finding("settings", "valid"))
    return asyncio.run(examine(chosen))


async def examine(chosen: Settings) -> bool:
    is_well = True
    async for finding in examination.examine(chosen):
        show(finding)
        is_well = is_well and finding.remedy is None
    return is_well


def show(finding: Finding) -> None:
    if finding.remedy is None:
        print(f"ok     {finding.subject}: {finding.detail}", flush=True)
    else:
        print(f"wrong  {finding.subject}: {finding.detail}\n       {finding.remedy}", flush=True)


def rotate(data_dir: Path | None, config: Path | None) -> None:
    chosen = load(config, data_dir)
    count = asyncio.run(reseal(dsn_of(chosen), keyring_of(chosen)))
    print(f"{count} encrypted anew")


async def reseal(dsn: str, keyring: crypto.Keyring) -> int:
    await migrations.check(dsn)
    async with sql.create_pool(dsn, size_max=2) as pool:
        kinds = (publishers.reseal, webhooks.reseal, providers.reseal, connections.reseal, roles.reseal)
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

"""``farebox projects``."""

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from control.cli.servers import Config, DataDir

projects = typer.Typer(
    no_args_is_help=True, help="Deleted projects: taken back, or thrown away before their time."
)


@projects.command(epilog="Example: farebox projects deleted")
def deleted(data_dir: DataDir = None, config: Config = None) -> None:
    """List deleted projects whose data is still there, the newest first. It is kept for 30 days."""
    asyncio.run(listed(data_dir, config))


@projects.command(epilog="Example: farebox projects restore 0199c0de-…")
def restore(
    project_id: Annotated[str, typer.Argument(metavar="ID", help="In either spelling.")],
    slug: Annotated[str | None, typer.Option(help="Another slug, if its own has been taken since.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Take a deleted project back, with its data, endpoints, roles and keys. Clients connect as before.

    It counts for its organization's quotas again, and needs no room in them: it is you who asks.
    """
    asyncio.run(restored(data_dir, config, read_id(project_id), slug))


@projects.command(epilog="Example: farebox projects purge 0199c0de-…")
def purge(
    project_id: Annotated[str, typer.Argument(metavar="ID", help="In either spelling.")],
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Throw away what is kept of a deleted project, for good. The worker deletes it soon after."""
    asyncio.run(purged(data_dir, config, read_id(project_id)))


def read_id(project_id: str) -> UUID:
    from control.api import wire_ids
    from control.cli.errors import Sorry

    found = wire_ids.read_any(project_id)
    if found is None:
        raise Sorry(f"{project_id!r} is no id of a project: `farebox projects deleted` lists them")
    return found


async def listed(data_dir: Path | None, config: Path | None) -> None:
    from control.cli import installation
    from control.projects import restoring
    from gateway.kit import sql

    async with sql.create_pool(installation.dsn_of(installation.load(config, data_dir)), size_max=1) as pool:
        for row in await restoring.deleted(pool):
            told = f"{row['deleted_at']:%Y-%m-%d %H:%M}  {row['slug']}  {row['organization']}  {row['name']}"
            print(f"{row['id']}  {told}")


async def restored(data_dir: Path | None, config: Path | None, project_id: UUID, slug: str | None) -> None:
    from control import migrate
    from control.cli import installation
    from control.cli.errors import Sorry
    from control.projects import restoring
    from gateway.kit import sql

    dsn = installation.dsn_of(installation.load(config, data_dir))
    await migrate.check(dsn)
    async with sql.create_pool(dsn, size_max=1) as pool:
        try:
            print(f"{project_id} is there again, as {await restoring.restore(pool, project_id, slug)}")
        except restoring.NotRestored as error:
            raise Sorry(str(error)) from None


async def purged(data_dir: Path | None, config: Path | None, project_id: UUID) -> None:
    from control import migrate
    from control.cli import installation
    from control.cli.errors import Sorry
    from control.projects import keeping
    from gateway.kit import sql

    dsn = installation.dsn_of(installation.load(config, data_dir))
    await migrate.check(dsn)
    async with sql.create_pool(dsn, size_max=1) as pool, pool.acquire() as db, db.transaction():
        slug = await keeping.purge(db, project_id)
        if slug is None:
            raise Sorry(f"nothing is kept of a deleted project {project_id}")
    print(f"what was kept of {slug} is thrown away")

"""Taking a directory of projects' data into use: one process at a time, and what an earlier one left."""

import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from control.computes import cgroups, compute, copying, extensions, files, keeping, settings
from control.computes.files import Store
from control.computes.local import LocalProvider
from control.embedded import directory, postgres
from control.embedded.postgres import Cluster
from control.embedded.processes import StartFailed

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
LOOKS_PER_UPKEEP = 12


@asynccontextmanager
async def opened(
    root: Path, chosen: Path | None = None, look_seconds: float = LOOK_SECONDS
) -> AsyncIterator[LocalProvider]:
    """The provider of a directory, which is one process's at a time. Its servers stay when it goes."""
    with claimed(root) as own:
        async with taken_over(own, chosen, look_seconds) as provider:
            yield provider


@contextmanager
def claimed(root: Path) -> Iterator[Path]:
    if sys.platform != "linux":
        raise StartFailed("Projects' databases on this machine itself need Linux.")
    with directory.claimed(root) as own:
        yield own


@asynccontextmanager
async def taken_over(
    root: Path, chosen: Path | None = None, look_seconds: float = LOOK_SECONDS
) -> AsyncIterator[LocalProvider]:
    """As ``opened``, of a directory that is ours."""
    provider = LocalProvider(await prepare(root, chosen))
    for timeline in provider.store.timelines():
        one = compute.adopt(provider.store, timeline)
        if one is not None:
            provider.computes[timeline] = one
            provider.attend(one)
    provider.crew.start(keeping.keep(provider, look_seconds))
    try:
        yield provider
    finally:
        await provider.crew.close()
        release(provider)
        provider.store.leave()


def has_data(root: Path) -> bool:
    """Whether there is anything to take over, or to look after."""
    timelines = root / "timelines"
    return timelines.is_dir() and any(timelines.iterdir())


async def prepare(root: Path, chosen: Path | None) -> Store:
    sockets = files.socket_root(root)
    bin_dir, version = await postgres.runnable(root, sockets, chosen)
    template = root / "template" / version.partition(".")[0]
    timelines = root / "timelines"
    for path in (timelines, template.parent):
        path.mkdir(mode=0o711, exist_ok=True)
    cluster = Cluster(bin_dir, template, sockets, directory.dropped(directory.POSTGRES_UID))
    if not (template / "PG_VERSION").exists():
        await postgres.create(cluster, settings.INITDB)
        copying.flush(root)
    postgres.refuse_other_version(cluster, version)
    await files.sweep(timelines)
    trusted = extensions.lay_out(root, bin_dir, version)
    groups = cgroups.find(root)
    cgroups.sweep(groups)
    return Store(root, sockets, bin_dir, template, trusted, groups, copying.can_share_blocks(root))


def release(provider: LocalProvider) -> None:
    for one in provider.computes.values():
        if one.server is not None:
            one.server.release()

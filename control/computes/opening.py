"""Taking a directory of projects' data into use: one process at a time, and what an earlier one left."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from control.computes import compute, copying, files, settings
from control.computes.files import Store
from control.computes.local import LocalProvider
from control.embedded import directory, postgres
from control.embedded.postgres import Cluster
from control.embedded.processes import StartFailed


@asynccontextmanager
async def opened(root: Path, chosen: Path | None = None) -> AsyncIterator[LocalProvider]:
    """The provider of a directory, which is one process's at a time. Its servers stay when it goes."""
    if sys.platform != "linux":
        raise StartFailed("Projects' databases on this machine itself need Linux.")
    with directory.claimed(root) as claimed:
        provider = LocalProvider(await prepare(claimed, chosen))
        for timeline in provider.store.timelines():
            one = compute.adopt(provider.store, timeline)
            if one is not None:
                provider.computes[timeline] = one
                provider.attend(one)
        try:
            yield provider
        finally:
            await provider.crew.close()
            release(provider)


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
    return Store(root, sockets, bin_dir, template, copying.can_share_blocks(root))


def release(provider: LocalProvider) -> None:
    for one in provider.computes.values():
        if one.server is not None:
            one.server.release()

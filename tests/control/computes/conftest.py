import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from control.computes.local import LocalProvider
from control.computes.opening import opened


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a first start makes, which takes longer than most tests."""
    made = tmp_path_factory.mktemp("template")
    asyncio.run(make(made))
    return made


async def make(root: Path) -> None:
    async with opened(root):
        pass


@pytest.fixture
def root(template: Path) -> Iterator[Path]:
    """Where other users may pass through, unlike under ``tmp_path``.

    In memory where that is to be had: flushing one directory flushes what everybody writes to its disk.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="computes-", dir=memory if memory.is_dir() else "/tmp") as name:
        Path(name).chmod(0o711)
        for path in (*template.glob("template"), *template.glob("extensions-*")):
            subprocess.run(("cp", "-a", path, name), check=True)
        yield Path(name)


@pytest.fixture
async def provider(root: Path) -> AsyncIterator[LocalProvider]:
    async with opened(root, look_seconds=3600) as provider:
        yield provider
        await provider.stop_all()

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from control.computes.local import LocalProvider
from control.computes.opening import opened


@pytest.fixture
def root() -> Iterator[Path]:
    """Where other users may pass through, unlike under ``tmp_path``.

    In memory where that is to be had: flushing one directory flushes what everybody writes to its disk.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="computes-", dir=memory if memory.is_dir() else "/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
async def provider(root: Path) -> AsyncIterator[LocalProvider]:
    async with opened(root, look_seconds=3600) as provider:
        yield provider
        await provider.stop_all()

"""A gateway process to kill: ``… victim ROOT STEP`` takes that step, and waits."""

import asyncio
import sys
from pathlib import Path

from control.computes.local import LocalProvider
from control.computes.opening import opened
from control.computes.provider import HEAD, TimelineSpec
from tests.control.computes.rows import SPEC


async def main(root: Path, step: str) -> None:
    async with opened(root) as provider:
        await take(provider, step)
        await asyncio.sleep(60)


async def take(provider: LocalProvider, step: str) -> None:
    match step:
        case "derive":
            await provider.create_timeline("child", TimelineSpec("shop"), ("main", HEAD))
        case "archive":
            await provider.archive("main")
        case "unarchive":
            await provider.unarchive("main")
        case "delete":
            await provider.delete_timeline("child")
        case "start":
            await provider.start("rw", "main", SPEC)
        case _:
            raise ValueError(step)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

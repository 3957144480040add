"""Processes of ``farebox up`` are killed while branches are made, reset and restored: all ends as it should.

It runs for some minutes: ``pytest -m soak tests/paths/test_kills_of_branches.py``.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from control.demo.chain import Chain
from gateway.kit.sql import create_pool
from tests.paths.conftest import settings_of
from tests.paths.killing import Installation, command_line, installed
from tests.paths.test_kills import directory as directory
from tests.waiting import until

Json = dict[str, Any]

VICTIMS = (b"farebox: jobs", b"farebox: computes", b"farebox: worker")
KNOWN = "SELECT id::text AS id FROM timelines WHERE state IN ('ready', 'archived')"


@pytest.fixture
async def installation(chain: Chain, paid_token: str, directory: Path) -> AsyncIterator[Installation]:
    (network,) = settings_of("unused", None, chain, paid_token).networks
    plain: Json = network.model_dump(mode="json", exclude_none=True)
    [plain["facilitator_key"]] = network.keys
    async with installed(directory, plain) as one:
        yield one


class Owner:
    """Somebody with a project, who asks again when nobody answers."""

    def __init__(self, session: ClientSession, origin: str) -> None:
        self.session, self.origin = session, origin
        self.headers: dict[str, str] = {}
        self.path = ""

    async def ask(self, method: str, path: str, **body: Any) -> Json:
        url = self.origin + self.path + path
        told: Json = {}

        async def is_answered() -> bool:
            nonlocal told
            try:
                async with self.session.request(method, url, json=body or None, headers=self.headers) as one:
                    told = await one.json()
                    return one.status < 300
            except (ClientError, OSError):
                return False

        await until(is_answered, 30)
        data: Json = told["data"]
        return data

    async def settled(self) -> None:
        async def is_settled() -> bool:
            found: Any = await self.ask("GET", "/operations")
            return all(one["status"] in ("finished", "failed") for one in found)

        await until(is_settled, 60)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_what_was_asked_of_branches_is_done_whoever_is_killed(installation: Installation) -> None:
    async with ClientSession() as session, create_pool(installation.dsn, size_max=2) as pool:
        owner = Owner(session, installation.origin)
        made = await owner.ask("POST", "/auth/agent", name="owner")
        owner.headers = {"Authorization": f"Bearer {made['agent']['api_key']}"}
        project = await owner.ask("POST", "/projects", name="shop", region="local")
        owner.path = f"/projects/{project['id']}"
        await owner.settled()
        for number, victim in enumerate(VICTIMS * 2):
            branch = await owner.ask("POST", "/branches", name=f"b{number}")
            where = f"/branches/{branch['branch']['id']}"
            await owner.ask("POST", f"{where}/reset", parent=True)
            await owner.ask(
                "POST", f"/branches/{project['default_branch_id']}/restore",
                source={"type": "branch", "source_branch_id": project["default_branch_id"],
                        "point_in_time": {"timestamp": datetime.now(UTC).isoformat()}},
                preserve_under_name=f"kept {number}",
            )  # fmt: skip
            # At another moment of the work each time.
            await asyncio.sleep(0.3 + 0.4 * number)
            for pid in installation.descendants():
                if victim in command_line(pid):
                    os.kill(pid, signal.SIGKILL)
            await owner.settled()
        found: Any = await owner.ask("GET", "/operations")
        assert {one["status"] for one in found} == {"finished"}
        branches: Any = await owner.ask("GET", "/branches")
        assert {one["state"] for one in branches} == {"ready"}
        assert len(branches) == 1 + 2 * len(VICTIMS) * 2

        async def is_swept() -> bool:
            there = {path.name for path in (installation.directory / "computes" / "timelines").iterdir()}
            return there == {row["id"] for row in await pool.fetch(KNOWN)}

        # What resets left is pointed to by nobody, and goes a minute later.
        await until(is_swept, 150)

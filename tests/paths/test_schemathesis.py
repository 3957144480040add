"""The whole document, asked with whatever schemathesis makes up: what it does not allow must not happen."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from control import bootstrap
from control.api import openapi
from control.demo.chain import Chain
from control.rooms import ROOMS
from gateway.kit.sql import Pool
from tests.paths.conftest import serving, settings_of

CONFIG = Path(__file__).with_name("schemathesis") / "schemathesis.toml"
PLENTY = 1_000_000


@dataclass(frozen=True, slots=True)
class Served:
    origin: str
    key: str


@pytest.fixture
async def served(
    database_url: str, pool: Pool, valkey: str, chain: Chain, paid_token: str
) -> AsyncIterator[Served]:
    """The product, which limits nobody: every request is to come to what it asks for."""
    names = ("login", "wrong_password", "account_wrong_password")
    accounts = {f"{name}s_per_minute": PLENTY for name in names} | {f"{name}_burst": PLENTY for name in names}
    limits = {
        "address_calls_per_second": PLENTY, "address_burst": PLENTY, "key_calls_per_second": PLENTY,
        "key_burst": PLENTY, "signup_burst": PLENTY,
    }  # fmt: skip
    settings = settings_of(
        database_url, valkey, chain, paid_token,
        accounts={**accounts, "mails_per_hour": PLENTY, "mail_burst": PLENTY}, limits=limits,
    )  # fmt: skip
    key = await bootstrap.ensure_operator(pool, "test")
    assert key is not None
    async with serving(settings) as origin:
        yield Served(origin, key)


async def schemathesis(served: Served, directory: Path, *options: str) -> tuple[int, str]:
    document = directory / "openapi.json"
    document.write_text(json.dumps(openapi.document(ROOMS)))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIG, "run", document, "--url",
        served.origin, "--no-color", *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=directory,
        env={**os.environ, "FAREBOX_OPERATOR_KEY": served.key},  # noqa: TID251
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_nothing_happens_that_the_document_does_not_say(served: Served, tmp_path: Path) -> None:
    code, output = await schemathesis(
        served, tmp_path, "--phases", "examples,coverage,fuzzing", "--max-examples", "3", "--seed", "4"
    )
    assert code == 0, output


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_nothing_ever_happens_that_the_document_does_not_say(served: Served, tmp_path: Path) -> None:
    code, output = await schemathesis(served, tmp_path, "--continue-on-failure", "--max-time", "600")
    assert code == 0, output

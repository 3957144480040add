"""The operator's login, and the outbox on the command line."""

import asyncio
from datetime import timedelta

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from config.settings import Bootstrap, SettingsError
from control.bootstrap import ensure_login
from control.cli.app import app
from control.mail import outbox
from control.mail.letters import Letter
from gateway.kit.sql import Pool
from tests.control.conftest import Client
from tests.control.people import EMAIL, PASSWORD, log_in, person, signed_in

ADMIN = Bootstrap.model_validate({"admin_email": "Root@Example.com", "admin_password": PASSWORD})


async def test_the_operator_signs_in_and_operates_the_platform(pool: Pool, stranger: Client) -> None:
    await ensure_login(pool, ADMIN)
    root = await signed_in(await log_in(stranger, "root@example.com"))
    own = await (await stranger.get("/organizations", headers=root.headers)).json()
    assert [one["slug"] for one in own["data"]] == ["platform"]


async def test_a_login_that_is_there_is_left_alone(pool: Pool, stranger: Client) -> None:
    await asyncio.gather(*(ensure_login(pool, ADMIN) for _ in range(2)))
    changed = {"admin_email": "root@example.com", "admin_password": "another long password"}
    await ensure_login(pool, Bootstrap.model_validate(changed))
    assert (await log_in(stranger, "root@example.com")).status == 200
    await ensure_login(pool, Bootstrap())


@pytest.mark.parametrize(
    ("email", "password", "named"),
    [("root", PASSWORD, "EMAIL"), ("root@example.com", "short", "PASSWORD"), (EMAIL, PASSWORD, "EMAIL")],
)
async def test_a_login_that_cannot_be_is_said(
    pool: Pool, stranger: Client, email: str, password: str, named: str
) -> None:
    await person(stranger, pool)
    bootstrap = Bootstrap.model_validate({"admin_email": email, "admin_password": password})
    with pytest.raises(SettingsError, match=f"FAREBOX_BOOTSTRAP__ADMIN_{named}"):
        await ensure_login(pool, bootstrap)


def test_half_a_login_is_refused() -> None:
    with pytest.raises(ValidationError, match="belong together"):
        Bootstrap.model_validate({"admin_email": "root@example.com"})


async def test_the_operator_reads_the_outbox(
    pool: Pool, server: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = Letter(
        "Confirm", "Hello,", "open this:", "Bye.", "Open", "https://gateway.example/auth/link#verify=a"
    )
    letter_id = await outbox.post(pool, EMAIL, letter, timedelta(hours=1))
    await outbox.post(pool, "nobody@example.com", letter, timedelta(hours=1), is_decoy=True)
    monkeypatch.setenv("FAREBOX_POSTGRES__DSN", server.replace("/postgres?", f"/{database}?"))

    async def run(*arguments: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["outbox", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    (line,) = (await run()).splitlines()
    assert line.startswith(f"{letter_id}  ")
    assert line.endswith(f"  waiting  {EMAIL}  Confirm")
    assert "#verify=a" in await run(str(letter_id))
    await outbox.sent(pool, letter_id)
    assert await run() == ""
    assert "  sent  " in await run("--all")

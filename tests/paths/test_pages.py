"""Our pages in a real browser: from a letter to a joined team, what may go wrong, and the documentation."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from gateway.kit.sql import Pool
from tests.control.people import PASSWORD, letters
from tests.paths.conftest import Farebox
from tests.waiting import until

# Not among the extras: it is many times the size of everything else, and Chromium is the system's.
playwright = pytest.importorskip("playwright.async_api", reason="pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture
def bob() -> str:
    """Another address for each test, because mailboxes are sent so many letters and no more."""
    return f"bob-{uuid4().hex[:8]}@example.com"


@asynccontextmanager
async def browsing() -> AsyncIterator[Any]:
    """A page, and what its scripts complained of."""
    async with playwright.async_playwright() as driver:
        chromium = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = await (await chromium.new_context()).new_page()
            page.set_default_timeout(10_000)
            flaws: list[str] = []
            page.on("pageerror", lambda error: flaws.append(str(error)))
            yield page
            assert flaws == []
        finally:
            await chromium.close()


async def link(pool: Pool, kind: str, email: str, nth: int = 1) -> str:
    """From the nth letter of a kind."""
    found: list[str] = []

    async def has_come() -> bool:
        found[:] = [
            match[0]
            for one in await letters(pool, email)
            if (match := re.search(rf"http\S+/auth/link#{kind}=\S+", one))
        ]
        return len(found) >= nth

    await until(has_come)
    return found[nth - 1]


async def fill(page: Any, form: str, **values: str) -> None:
    for name, value in values.items():
        await page.fill(f"#{form} [name={name}]", value)
    # As somebody without a mouse does it.
    await page.press(f"#{form} [name={next(iter(values))}]", "Enter")


async def reads(page: Any, words: str) -> None:
    await page.get_by_text(words).wait_for()


async def invited(farebox: Farebox, bob: str) -> str:
    """The link that Bob is mailed, from an organization called ``team``."""
    body = {"email": bob, "role": "viewer"}
    url = f"{farebox.origin}/organizations/default/invites"
    reply = await farebox.agent.ask("POST", url, headers=farebox.publisher.headers, body=body)
    assert reply.status == 201, reply.text
    return await link(farebox.pool, "invite", bob)


async def members(farebox: Farebox) -> list[str]:
    url = f"{farebox.origin}/organizations/default/members"
    reply = await farebox.agent.ask("GET", url, headers=farebox.publisher.headers)
    return sorted(one["email"] for one in reply.json["data"])


async def test_somebody_new_goes_from_an_invitation_to_the_team(
    farebox: Farebox, pool: Pool, bob: str
) -> None:
    async with browsing() as page:
        await page.goto(await invited(farebox, bob))
        await page.get_by_role("button", name="Sign up").click()
        await fill(page, "sign-up", name="Bob", email=bob, password="short pass")
        await reads(page, "Look into your mail")

        await page.goto(await link(pool, "verify", bob))
        await page.get_by_role("button", name="Confirm").click()
        # Where they came from, and signed in.
        await reads(page, f"You are signed in as {bob}.")
        assert bob not in await members(farebox)
        await page.get_by_role("button", name="Accept").click()
        await reads(page, "you belong to the organization now")
        assert bob in await members(farebox)
        [cookie] = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
        assert await page.evaluate("document.cookie") == ""
        assert await page.evaluate("location.hash") == ""


async def test_somebody_known_signs_in_and_has_joined(farebox: Farebox, pool: Pool, bob: str) -> None:
    async with browsing() as page:
        await confirmed(farebox, pool, bob)
        await page.goto(await invited(farebox, bob))
        await fill(page, "sign-in", email=bob, password="not the password")
        await reads(page, "the e-mail address or the password is wrong")
        assert await page.evaluate("document.activeElement.closest('form').id") == "sign-in"
        await fill(page, "sign-in", email=bob, password=PASSWORD)
        await reads(page, "you belong to the organization now")
        assert bob in await members(farebox)


async def test_an_invitation_for_somebody_else_takes_another_account(
    farebox: Farebox, pool: Pool, bob: str
) -> None:
    async with browsing() as page:
        await confirmed(farebox, pool, f"eve-{bob}")
        await confirmed(farebox, pool, bob)
        await page.goto(invitation := await invited(farebox, bob))
        await fill(page, "sign-in", email=f"eve-{bob}", password=PASSWORD)
        await reads(page, "sent to another address")
        await page.get_by_role("button", name="Use another account").click()
        await fill(page, "sign-in", email=bob, password=PASSWORD)
        await reads(page, "you belong to the organization now")
        await page.goto("about:blank")
        await page.goto(invitation)
        await page.get_by_role("button", name="Accept").click()
        await reads(page, "Whoever invited you can send a new one.")


async def test_a_link_that_is_over_is_mailed_again(farebox: Farebox, pool: Pool, bob: str) -> None:
    async with browsing() as page:
        url = f"{farebox.origin}/auth/signup"
        reply = await farebox.agent.ask("POST", url, body={"email": bob, "password": PASSWORD, "name": "Bob"})
        assert reply.status == 201
        await pool.execute("UPDATE email_links SET expires_at = now()")
        await page.goto(await link(pool, "verify", bob))
        await page.get_by_role("button", name="Confirm").click()
        await reads(page, "ask for another one")
        assert await page.input_value("#again [name=kind]") == "verify"
        await fill(page, "again", email=bob)
        await reads(page, f"If {bob} has an account")
        await page.goto(await link(pool, "verify", bob, 2))
        await page.get_by_role("button", name="Confirm").click()
        await reads(page, "you are signed in")

        # The same for a password that was forgotten, by way of a link that was cut short.
        await page.goto(f"{farebox.origin}/auth/link#rese")
        await page.select_option("#again [name=kind]", "reset")
        await fill(page, "again", email=bob)
        await reads(page, f"If {bob} has an account")
        await page.goto(reset := await link(pool, "reset", bob))
        await fill(page, "choose", new_password="aaaaaaaaaaaa")
        await reads(page, "new password repeats too few characters")
        await fill(page, "choose", new_password="another good one")
        await reads(page, "sign in with it")
        await fill(page, "sign-in", email=bob, password="another good one")
        await reads(page, "you are signed in")
        await page.goto(reset)
        await fill(page, "choose", new_password="yet another one")
        await reads(page, "ask for another one")


async def test_a_link_to_sign_in_that_is_over_is_told_on_the_page(
    farebox: Farebox, pool: Pool, bob: str
) -> None:
    async with browsing() as page:
        await confirmed(farebox, pool, bob)
        url = f"{farebox.origin}/v1/auth/sign-in/magic-link"
        assert (await farebox.agent.ask("POST", url, body={"email": bob})).status == 200
        for words in ("you are signed in", "ask for another one"):
            await page.goto("about:blank")
            await page.goto(await link(pool, "magic", bob))
            await page.get_by_role("button", name="Sign in", exact=True).click()
            await reads(page, words)


async def confirmed(farebox: Farebox, pool: Pool, email: str) -> None:
    """Somebody with an account, who is not signed in here."""
    new = {"email": email, "password": PASSWORD, "name": "Somebody"}
    assert (await farebox.agent.ask("POST", f"{farebox.origin}/auth/signup", body=new)).status == 201
    word = (await link(pool, "verify", email)).rpartition("=")[2]
    url = f"{farebox.origin}/auth/verify-email"
    assert (await farebox.agent.ask("POST", url, body={"token": word})).status == 200


async def test_nobody_is_led_to_another_site(farebox: Farebox) -> None:
    own = ("/docs", "/a?b=1#c=2", "/%09/e.example")
    foreign = (
        "//e.example",
        "/\\e.example",
        "/\t/e.example",
        "//",
        "https://e.example",
        "javascript:alert(1)",
        "",
    )
    asked = {**{one: one for one in own}, **dict.fromkeys(foreign)}
    async with browsing() as page:
        await page.goto(f"{farebox.origin}/auth/link#magic=x")
        got = {text: await page.evaluate("text => ownPage(text)", text) for text in asked}
    assert got == asked


async def test_the_documentation_is_searched_by_group(farebox: Farebox) -> None:
    async with browsing() as page:
        await page.goto(f"{farebox.origin}/docs")
        groups = page.locator("nav h2:visible")
        await groups.first.wait_for()
        assert (await groups.all_inner_texts())[:3] == ["GATEWAY", "PUBLISHERS", "WALLET"]
        # How to be let in is said before anything else.
        assert "POST /auth/login" in " ".join(await page.locator("main > p").all_inner_texts())
        await page.fill("nav input", "rotate-secret")
        assert await groups.all_inner_texts() == ["WEBHOOKS"]
        assert await page.inner_text("#count") == "1 operation"
        assert await page.locator("main section:visible").count() == 1
        await page.fill("nav input", "nothing has this name")
        assert (await groups.count(), await page.inner_text("#count")) == (0, "No operations")

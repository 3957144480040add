"""What a publisher tried on people who are signed in at the origin that it shares with them."""

import pytest
from aiohttp import web

from tests.paths.conftest import Farebox

PAGE = "<script>fetch('/sessions/revoke-all', {method: 'POST'})</script>"


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("theirs", [None, "default-src *"])
async def test_a_page_of_a_publisher_is_not_of_our_origin(
    farebox: Farebox, status: int, theirs: str | None
) -> None:
    """Its script would act with the cookie of whoever opens it, and requests of it would count as ours."""

    async def page(request: web.Request) -> web.StreamResponse:
        headers = {} if theirs is None else {"Content-Security-Policy": theirs}
        return web.Response(status=status, text=PAGE, content_type="text/html", headers=headers)

    farebox.upstream.handler = page
    shop = await farebox.publish("free", price_per_call="0")
    async with farebox.session.get(f"{shop}/page") as answer:
        policies = answer.headers.getall("Content-Security-Policy")
        assert (answer.status, await answer.text()) == (status, PAGE)
    # Each policy holds by itself, so that the upstream's takes nothing back.
    assert policies == ([] if theirs is None else [theirs]) + ["sandbox"]


async def test_an_answer_that_is_kept_is_in_the_sandbox_too(farebox: Farebox) -> None:
    shop = await farebox.publish()
    account = await farebox.sign_up()
    await farebox.fund(account, 10**6)
    headers = {**account.headers, "Idempotency-Key": "once"}
    for _ in range(2):
        async with farebox.session.get(f"{shop}/page", headers=headers) as answer:
            assert answer.status == 200
            assert answer.headers.getall("Content-Security-Policy") == ["sandbox"]

import base64

import pytest

from gateway.kit.sql import Pool
from tests.control.conftest import Client, join
from tests.control.test_audit_logs import PUBLISHER

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
LOGO = "/publishers/shop/logo"


async def publish(client: Client, **more: str) -> str:
    response = await client.post("/organizations/default/publishers", json={**PUBLISHER, **more})
    assert response.status == 201, await response.text()
    return f"/organizations/default/publishers/{(await response.json())['data']['id']}"


def upload(content: bytes, content_type: str) -> dict[str, str]:
    return {"logo": base64.b64encode(content).decode(), "content_type": content_type}


@pytest.mark.parametrize(("content", "content_type"), [(PNG, "image/png"), (SVG, "image/svg+xml")])
async def test_a_logo_is_shown_as_it_was_uploaded(
    client: Client, stranger: Client, content: bytes, content_type: str
) -> None:
    at = await publish(client)
    assert (await stranger.get(LOGO)).status == 404
    uploaded = await client.post(f"{at}/logo", json=upload(content, content_type))
    assert (await uploaded.json())["data"]["logo_url"] == f"https://gateway.example{LOGO}"
    for path in (LOGO, f"/publishers/{at.rpartition('/')[2]}/logo"):
        shown = await stranger.get(path)
        assert (shown.status, shown.content_type, await shown.read()) == (200, content_type, content)
        assert "sandbox" in shown.headers["Content-Security-Policy"]
    store = (await (await stranger.get("/publishers/shop")).json())["data"]
    assert store["logo_url"] == f"https://gateway.example{LOGO}"


async def test_a_logo_elsewhere_is_where_the_answer_leads(client: Client, stranger: Client) -> None:
    at = await publish(client, logo_url="https://cdn.example.com/logo.png")
    shown = await stranger.get(LOGO, allow_redirects=False)
    assert (shown.status, shown.headers["Location"]) == (302, "https://cdn.example.com/logo.png")
    await client.post(f"{at}/logo", json=upload(PNG, "image/png"))
    assert (await stranger.get(LOGO)).status == 200
    await client.put(at, json={"logo_url": "https://cdn.example.com/logo.png"})
    assert (await stranger.get(LOGO, allow_redirects=False)).status == 302


@pytest.mark.parametrize(
    "body",
    [
        {"logo": "!!", "content_type": "image/png"},
        {"logo": "", "content_type": "image/png"},
        upload(PNG, "image/jpeg"),
        upload(PNG, "text/html"),
        upload(b"<html><svg></html>", "image/png"),
        upload(PNG + b"\0" * 524_288, "image/png"),
        upload(b"<!-- -->" * 500, "image/svg+xml"),
    ],
)
async def test_what_is_no_logo_is_400(client: Client, body: dict[str, str]) -> None:
    at = await publish(client)
    assert (await client.post(f"{at}/logo", json=body)).status == 400


async def test_others_upload_no_logo(client: Client, pool: Pool) -> None:
    at = await publish(client)
    other = await join(pool)
    refused = await client.post(f"{at}/logo", json=upload(PNG, "image/png"), headers=other.headers)
    assert refused.status == 404

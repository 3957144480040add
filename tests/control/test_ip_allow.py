import asyncio
from uuid import uuid4

import pytest

from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, join, refused_fields

REGION = {"name": "shop", "region": "local"}


@pytest.fixture
async def path(client: Client) -> str:
    made = await client.post("/projects", json=REGION)
    return f"/projects/{(await made.json())['data']['id']}/ip-allow"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("10.0.0.1", "10.0.0.1/32"),
        ("192.168.1.0/24", "192.168.1.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0:0::1", "2001:db8::1/128"),
        ("2001:db8::/32", "2001:db8::/32"),
        # What a dual-stack socket calls an IPv4 client.
        ("::ffff:10.0.0.1", "10.0.0.1/32"),
    ],
)
async def test_an_address_has_one_spelling(client: Client, path: str, written: str, kept: str) -> None:
    made = await client.post(path, json={"ip_address": written, "description": "the office"})
    assert made.status == 201
    entry = (await made.json())["data"]
    assert (entry["ip_address"], entry["description"]) == (kept, "the office")
    for again in (written, kept):
        assert (await client.post(path, json={"ip_address": again})).status == 409
    assert (await (await client.get(path)).json())["data"] == [entry]
    assert (await client.delete(f"{path}/{entry['id']}")).status == 204
    assert (await client.delete(f"{path}/{entry['id']}")).status == 404
    assert (await (await client.get(path)).json())["data"] == []


@pytest.mark.parametrize(
    "written",
    [
        "", "office", "10.0.0", "10.0.0.256", "10.0.0.1/33", "10.0.0.0/255.255.255.0", "10.0.0.5/24", "/24",
        "010.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.0/120", "10.0.0.1/", " 10.0.0.1", "10.0.0.1/-1",
        "2001:db8::1/64", "\u0661.0.0.1", 167772161,
    ],
)  # fmt: skip
async def test_what_is_no_range_is_refused(client: Client, path: str, written: object) -> None:
    refused = await client.post(path, json={"ip_address": written})
    assert refused.status == 400
    replaced = await client.put(f"{path}/reset", json={"entries": [{"ip_address": written}]})
    assert replaced.status == 400
    assert (await (await client.get(path)).json())["data"] == []


async def test_the_list_is_replaced_whole(client: Client, path: str) -> None:
    made = await client.post(path, json={"ip_address": "10.0.0.1"})
    kept = (await made.json())["data"]
    wanted = [
        {"ip_address": "2001:db8::/32"},
        {"ip_address": "10.0.0.1/32", "description": "home"},
        {"ip_address": "10.0.0.0/8"},
    ]
    answer = await client.put(f"{path}/reset", json={"entries": wanted})
    entries = (await answer.json())["data"]
    assert [one["ip_address"] for one in entries] == ["10.0.0.0/8", "10.0.0.1/32", "2001:db8::/32"]
    assert (entries[1]["id"], entries[1]["description"]) == (kept["id"], "home")
    twice = {"entries": [{"ip_address": "10.0.0.1"}, {"ip_address": "10.0.0.1/32"}]}
    assert (await client.put(f"{path}/reset", json=twice)).status == 400
    too_many = {"entries": [{"ip_address": f"10.0.{n // 256}.{n % 256}"} for n in range(501)]}
    assert (await client.put(f"{path}/reset", json=too_many)).status == 400
    assert len((await (await client.get(path)).json())["data"]) == 3
    most = {"entries": too_many["entries"][:500]}
    assert (await client.put(f"{path}/reset", json=most)).status == 200
    full = await client.post(path, json={"ip_address": "10.9.9.9"})
    assert (full.status, (await full.json())["code"]) == (409, "too-many-ip-addresses")
    # Nobody opens a project by a field that is not there.
    mistyped = await client.put(f"{path}/reset", json={"ip_addresses": ["10.0.0.1"]})
    assert await refused_fields(mistyped) == ["body/ip_addresses"]
    assert len((await (await client.get(path)).json())["data"]) == 500
    assert (await (await client.put(f"{path}/reset", json={})).json())["data"] == []


async def test_of_ten_at_once_one_is_in_the_list(client: Client, path: str) -> None:
    asked = [client.post(path, json={"ip_address": "10.0.0.1"}) for _ in range(10)]
    assert sorted(one.status for one in await asyncio.gather(*asked)) == [201] + [409] * 9


async def test_an_entry_of_another_project_is_as_absent_as_none(
    client: Client, pool: Pool, member: Member, path: str
) -> None:
    made = await client.post(path, json={"ip_address": "10.0.0.1"})
    entry = (await made.json())["data"]["id"]
    other = (await (await client.post("/projects", json=REGION)).json())["data"]["id"]
    for where in (f"/projects/{other}/ip-allow/{entry}", f"{path}/{uuid4()}"):
        assert (await client.delete(where)).status == 404
    headers = (await join(pool)).headers
    assert (await client.get(path, headers=headers)).status == 404
    assert (await client.delete(f"{path}/{entry}", headers=headers)).status == 404
    assert len((await (await client.get(path)).json())["data"]) == 1

"""What strangers send, and what they find out by it."""

import asyncio
import base64
import hashlib
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from ipaddress import ip_network
from typing import Any

import asyncpg
import psycopg
import pytest

from gateway.pgwire import messages
from gateway.pgwire.scram import mac, xor
from tests.gateway.pgwire.conftest import PASSWORD, Stage, proxying

pytestmark = pytest.mark.asyncio(loop_scope="module")

SSL = struct.pack("!II", 8, messages.SSL_REQUEST)
GSS = struct.pack("!II", 8, messages.GSS_REQUEST)


def startup(label: str, user: str = "app", version: int = messages.V3_0, **more: str) -> bytes:
    given = {"user": user, "database": "app", "options": f"endpoint={label}", **more}
    packet = messages.startup({name.encode(): value.encode() for name, value in given.items()})
    return packet[:4] + struct.pack("!I", version) + packet[8:]


async def say(stage: Stage, *said: bytes) -> bytes:
    """Everything that is answered until the proxy hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    for one in said:
        writer.write(one)
    writer.write_eof()
    try:
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


def sqlstate(answer: bytes) -> str:
    at = answer.rindex(b"E\0")
    return messages.sqlstate(answer[at + 5 :])


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "08P01"),
        (struct.pack("!II", 0x7FFFFFFF, messages.V3_0), "08P01"),  # a length that nobody waits for
        (struct.pack("!II", 4, messages.V3_0), "08P01"),
        (struct.pack("!II", 10_001, messages.V3_0), "08P01"),
        (struct.pack("!II", 9, messages.V3_0) + b"\0", "28000"),  # nobody named
        (struct.pack("!II", 9, 2 << 16) + b"\0", "0A000"),
        (struct.pack("!II", 13, messages.V3_0) + b"user\0", "08P01"),  # a name without a value
        (startup("ep-x", user=""), "28000"),
        (messages.startup({b"user": b"app"}), "08004"),  # no endpoint
        (messages.startup({b"user": b"\xff", b"options": b"endpoint=x"}), "22021"),
        (startup("../../etc"), "08004"),
        (startup("ep-x", replication="true"), "0A000"),
        (SSL + startup("ep-x"), "08P01"),  # CVE-2021-23214: what was sent before the encryption
        (GSS * 4, "08P01"),
        (startup("ep-x") + messages.message(b"Q", b"SELECT 1\0"), "08P01"),
        (startup("ep-x") + b"p\x7f\xff\xff\xff", "08P01"),
        (startup("ep-x") + messages.message(b"p", b"MD5\0"), "08P01"),
        (startup("ep-x") + messages.message(b"p", b"SCRAM-SHA-1\0\0\0\0\x09n,,n=,r=x"), "08P01"),
        (startup("ep-x") + messages.message(b"p", b"SCRAM-SHA-256-PLUS\0\0\0\0\x09n,,n=,r=x"), "08P01"),
        (startup("ep-x") + messages.message(b"p", b"SCRAM-SHA-256\0\0\0\0\x0cn,a=x,n=,r=x"), "08P01"),
        (startup("ep-x") + messages.message(b"p", b"SCRAM-SHA-256\0\0\0\0\x09m=x,n=,r="), "08P01"),
    ],
)  # fmt: skip
async def test_what_is_no_login_is_refused_with_a_sentence(stage: Stage, said: bytes, told: str) -> None:
    stage.kept.asked.clear()
    answer = await say(stage, said)
    assert sqlstate(answer) == told
    assert stage.kept.asked["wake"] == 0


async def test_garbage_after_the_handshake_ends_the_connection(stage: Stage) -> None:
    trusting = ssl.create_default_context(cafile=str(stage.certificate))

    def work() -> bytes:
        near = socket.create_connection(("127.0.0.1", stage.port), timeout=5)
        near.sendall(SSL)
        assert near.recv(1) == b"S"
        with trusting.wrap_socket(near, server_hostname="localhost") as encrypted:
            encrypted.sendall(b"\xff" * 100)
            return encrypted.recv(4096)

    assert sqlstate(await asyncio.to_thread(work)) == "08P01"


async def test_direct_encryption_is_for_this_protocol_alone(stage: Stage) -> None:
    trusting = ssl.create_default_context(cafile=str(stage.certificate))
    trusting.set_alpn_protocols(["http/1.1"])

    def work() -> bytes:
        near = socket.create_connection(("127.0.0.1", stage.port), timeout=5)
        with trusting.wrap_socket(near, server_hostname="localhost") as encrypted:
            return encrypted.recv(1)

    with suppress(ConnectionResetError):
        assert await asyncio.to_thread(work) == b""


async def test_half_a_handshake_is_not_waited_for(stage: Stage) -> None:
    async with proxying(stage.kept, stage.root, handshake_seconds_max=0.2) as (proxy, port, _):
        for said in (b"", b"\0\0", SSL, SSL + b"\x16\x03\x01", startup(stage.label)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            async with asyncio.timeout(30):
                with suppress(ConnectionResetError):
                    await reader.read()
            writer.close()
        assert proxy.house.places.taken == 0


async def refusal(work: Callable[[], Awaitable[Any]]) -> str:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await work()
    return f"{caught.value.sqlstate} {str(caught.value).splitlines()[0]}"


async def test_a_wrong_password_wakes_nothing_and_says_nothing(stage: Stage) -> None:
    await stage.sleep()
    stage.kept.asked.clear()
    told = {
        await refusal(lambda: stage.connect(password="wrong")),
        await refusal(lambda: stage.connect(user="app", server_settings={"options": "endpoint=ep-nobody"})),
        await refusal(lambda: stage.connect(pooled=True, password="wrong")),
    }
    assert told == {'28P01 password authentication failed for user "app"'}
    assert await refusal(lambda: stage.connect(user="nobody")) == (
        '28P01 password authentication failed for user "nobody"'
    )
    # Not even of the one who could do everything.
    assert (await refusal(lambda: stage.connect(user="cloud_admin"))).startswith("28P01")
    assert stage.kept.asked["wake"] == 0


async def salt_of(stage: Stage, label: str, user: str) -> bytes:
    first = b"n,,n=,r=abc"
    said = messages.message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
    answer = await say(stage, startup(label, user), said)
    found = re.search(rb",s=([A-Za-z0-9+/=]+),i=4096", answer)
    assert found is not None
    return found[1]


async def test_those_who_are_not_there_have_salts_that_stay(stage: Stage) -> None:
    salts = [
        await salt_of(stage, *who)
        for who in ((stage.label, "nobody"), ("ep-nobody", "app"))
        for _ in range(2)
    ]
    assert salts[0] == salts[1] != salts[2] == salts[3]


async def test_a_verifier_that_its_server_takes_and_nobody_can_read_is_a_wrong_password(stage: Stage) -> None:
    key = base64.b64encode(bytes(32)).decode()
    stage.kept.verifiers[stage.endpoint.id, "odd"] = f"SCRAM-SHA-256$4096:QQ=A${key}:{key}"
    assert (await refusal(lambda: stage.connect(user="odd"))).startswith("28P01")


async def test_a_proof_is_good_once(stage: Stage) -> None:
    """Whoever saw a login cannot say the same again: the nonce is half ours."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(startup(stage.label))
    first = b"n,,n=,r=abc"
    opening = messages.message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
    writer.write(opening)

    async def heard() -> bytes:
        head = await reader.readexactly(5)
        return await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)

    await heard()
    server_first = (await heard())[4:].decode()
    given = dict(part.split("=", 1) for part in server_first.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(given["s"]), int(given["i"]))
    key = mac(salted, b"Client Key")
    final = f"c=biws,r={given['r']}"
    spoken = f"n=,r=abc,{server_first},{final}".encode()
    proof = xor(key, mac(hashlib.sha256(key).digest(), spoken))
    said = messages.message(b"p", f"{final},p={base64.b64encode(proof).decode()}".encode())
    writer.write(said)
    assert (await heard())[:4] == struct.pack("!I", messages.SASL_FINAL)
    writer.close()
    assert sqlstate(await say(stage, startup(stage.label), opening, said)) == "08P01"


async def test_binding_cannot_be_taken_away(stage: Stage) -> None:
    """A client that can bind and is told that we cannot is being lied to by somebody in between."""
    trusting = ssl.create_default_context(cafile=str(stage.certificate))

    def work() -> bytes:
        near = socket.create_connection(("127.0.0.1", stage.port), timeout=5)
        near.sendall(SSL)
        near.recv(1)
        with trusting.wrap_socket(near, server_hostname="localhost") as encrypted:
            first = b"y,,n=,r=abc"
            said = messages.message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
            encrypted.sendall(startup(stage.label) + said)
            answer = b""
            while more := encrypted.recv(4096):
                answer += more
            return answer

    assert sqlstate(await asyncio.to_thread(work)) == "28000"


async def test_only_listed_addresses_may_even_try(stage: Stage) -> None:
    try:
        stage.change(allowed=(ip_network("192.0.2.0/24"),))
        assert (await refusal(stage.connect)).startswith("28000 the address 127.0.0.1 is not on")
        stage.change(allowed=(ip_network("127.0.0.0/8"), ip_network("2001:db8::/32")))
        await (await stage.connect()).close()
        # Loopback is not public.
        stage.change(allowed=(), is_public_blocked=True)
        await (await stage.connect()).close()
    finally:
        stage.change(allowed=(), is_public_blocked=False)


async def test_a_stopped_endpoint_says_so_to_those_who_may_know(stage: Stage) -> None:
    stage.change(is_disabled=True)
    try:
        assert await refusal(stage.connect) == "57P03 the endpoint is stopped"
        assert (await refusal(lambda: stage.connect(password="wrong"))).startswith("28P01")
    finally:
        stage.change(is_disabled=False)


async def test_plain_connections_can_be_forbidden(stage: Stage) -> None:
    async with proxying(stage.kept, stage.root, plain="never") as (proxy, port, pem):
        strict = Stage(stage.kept, proxy, port, pem, stage.endpoint, stage.root)
        assert await refusal(strict.connect) == "28000 connections must be encrypted"
        (await asyncio.to_thread(lambda: psycopg.connect(strict.by_name()))).close()


async def test_places_are_bounded_and_given_back(stage: Stage) -> None:
    async with proxying(stage.kept, stage.root, connections_per_address_max=2) as (proxy, port, pem):
        small = Stage(stage.kept, proxy, port, pem, stage.endpoint, stage.root)
        held = [await small.connect(), await small.connect()]
        assert (await refusal(small.connect)).startswith("53300")
        for one in held:
            await one.close()
        async with asyncio.timeout(30):
            while proxy.house.places.taken:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await (await small.connect()).close()


async def test_what_an_endpoint_fixes_clients_cannot_change(stage: Stage) -> None:
    stage.kept.parameters = {"default_transaction_read_only": "on"}
    await stage.sleep()
    stage.proxy.house.waker.known.clear()
    try:
        client = await stage.connect()
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await client.execute("CREATE TABLE t ()")
        await client.close()
        for settings in (
            {"default_transaction_read_only": "off"},
            {"options": f"endpoint={stage.label} -c default_transaction_read_only=off"},
            {"options": f"endpoint={stage.label} --default-transaction-read-only=off"},
        ):
            assert (await refusal(partial(stage.connect, server_settings=settings))).startswith("22023")
    finally:
        stage.kept.parameters = {}
        stage.proxy.house.waker.known.clear()

"""Upstreams behind TLS: whom a certificate names is whom we talk to."""

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from config.settings import Upstream
from gateway.kit.ssrf import Guard
from gateway.upstreams.exchange import UpstreamUnreachable
from gateway.upstreams.http import HttpUpstreams
from tests.gateway.test_upstream_connections import OK, Given


def certificate(directory: Path, host: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "certificate.pem"
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.public_bytes(encoding))
    return path


@pytest.mark.parametrize(
    ("named", "is_trusted", "is_served"),
    [("localhost", True, True), ("elsewhere.example", True, False), ("localhost", False, False)],
)
async def test_a_certificate_must_be_trusted_and_name_the_host(
    tmp_path: Path, named: str, is_trusted: bool, is_served: bool
) -> None:
    path = certificate(tmp_path, named)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK)
        await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    upstreams = HttpUpstreams(Guard(is_private_allowed=True), Upstream())
    if is_trusted:
        upstreams.pool.dialler.context().load_verify_locations(path)
    for _ in range(2):
        try:
            async with upstreams.send("GET", f"https://localhost:{port}/x", {}, Given()) as answer:
                assert b"".join([chunk async for chunk in answer.chunks]) == b"ok"
            assert is_served
        except UpstreamUnreachable:
            assert not is_served
    assert (len(heads), upstreams.connections()) == ((2, (0, 1)) if is_served else (0, (0, 0)))
    await upstreams.close()
    server.close()

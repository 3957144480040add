"""The proxy's certificate: the operator's, or one made for the time being."""

import datetime
import ipaddress
import os
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ALPN = "postgresql"
NAME = "localhost"
DAYS = 3650
FILE = "pgproxy.pem"
# What is signed with these is bound by SHA-256 instead (RFC 5929, section 4.1).
WEAK = (hashes.MD5, hashes.SHA1)


@dataclass(frozen=True, slots=True)
class Certificate:
    context: ssl.SSLContext
    end_point: bytes | None
    """Its hash, for tls-server-end-point; None where the standard does not say which."""


def load(certificate: Path, key: Path) -> Certificate:
    """Raises ``OSError``, ``ValueError`` or ``ssl.SSLError`` for what is no certificate with its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols([ALPN])
    context.sni_callback = remember_name
    return Certificate(context, end_point(x509.load_pem_x509_certificate(certificate.read_bytes())))


def remember_name(encrypted: Any, name: str | None, context: ssl.SSLContext) -> None:
    encrypted.name_asked_for = name


def name_asked_for(encrypted: Any) -> str | None:
    name = getattr(encrypted, "name_asked_for", None)
    return name if isinstance(name, str) else None


def end_point(certificate: x509.Certificate) -> bytes | None:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None:
        return None
    return certificate.fingerprint(hashes.SHA256() if isinstance(algorithm, WEAK) else algorithm)


def ensure(directory: Path, domain: str | None) -> tuple[Path, bool]:
    """A file with one of our own and its key, made if it is missing; and whether it was."""
    path = directory / FILE
    if path.exists():
        return path, False
    private = ec.generate_private_key(ec.SECP256R1())
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    partial = path.with_suffix(f".{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_bytes(made(private, domain).public_bytes(serialization.Encoding.PEM) + secret)
    # Whole, and the first one's: another process may make one at the same moment.
    with suppress(FileExistsError):
        path.hardlink_to(partial)
    partial.unlink()
    return path, True


def made(private: ec.EllipticCurvePrivateKey, domain: str | None) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain or NAME)])
    names: list[x509.GeneralName] = [x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    names += [x509.DNSName(one) for one in (f"*.{domain or NAME}", *([domain] if domain else []))]
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )

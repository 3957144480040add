"""What ``farebox doctor`` says of the certificate that PostgreSQL's clients are shown."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from config.settings import Settings
from control.doctor import data_of
from control.finding import Finding
from gateway.pgwire import messages, tls

SUBJECT = "postgres certificate"
SOON = timedelta(days=14)
PROBE_SECONDS = 5.0


async def certificate(settings: Settings) -> AsyncIterator[Finding]:
    chosen = settings.pgproxy
    path = chosen.tls_cert or data_of(settings) / tls.FILE
    if not path.exists():
        yield Finding(SUBJECT, f"one that nobody has signed will be made: {path}")
        return
    try:
        tls.load(path, chosen.tls_key or path)
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        remedy = (
            "Correct FAREBOX_PGPROXY__TLS_CERT and …__TLS_KEY, or give them to the user that runs farebox."
        )
        yield Finding(SUBJECT, f"{path} is no certificate with its key ({error})", remedy)
        return
    yield judged(found, f"{path}, good until {found.not_valid_after_utc:%Y-%m-%d}", chosen.domain)
    shown = await shown_at(chosen.host, chosen.port)
    if shown is not None and shown != found.public_bytes(Encoding.DER):
        remedy = "Replace its processes, by kill -HUP of farebox, or end what else listens there."
        yield Finding(SUBJECT, f"another one than {path} is shown on port {chosen.port}", remedy)


def judged(found: x509.Certificate, told: str, domain: str | None) -> Finding:
    now = datetime.now(UTC)
    if not found.not_valid_before_utc <= now <= found.not_valid_after_utc - SOON:
        return Finding(SUBJECT, told, "Replace it: clients that check it refuse it then, or already.")
    if domain is not None and not ({f"*.{domain}"} & names_of(found)):
        remedy = f"Get one for *.{domain}, below which endpoints have their names."
        return Finding(SUBJECT, f"{told}, for other names", remedy)
    return Finding(SUBJECT, told + (", signed by nobody" if found.issuer == found.subject else ""))


def names_of(found: x509.Certificate) -> set[str]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return set(names.get_values_for_type(x509.DNSName))


async def shown_at(host: str, port: int) -> bytes | None:
    """None where nobody listens, or nobody encrypts; that is another check's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It is compared and not trusted.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            with closing(writer):
                writer.write(messages.U32.pack(8) + messages.U32.pack(messages.SSL_REQUEST))
                if await reader.read(1) != b"S":
                    return None
                await writer.start_tls(context)
                shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                return shown
    except (OSError, TimeoutError):
        return None

"""Who a client is, found out before anything is woken for it."""

from ipaddress import IPv4Address, IPv6Address

from gateway.pgwire import messages, scram
from gateway.pgwire.computes import Computes, Endpoint
from gateway.pgwire.messages import Fatal, violation
from gateway.pgwire.scram import Exchange, Keys
from gateway.pgwire.startup import Startup
from gateway.pgwire.wire import Wire

SAID_BYTES_MAX = 2048


def refuse_address(endpoint: Endpoint, address: IPv4Address | IPv6Address) -> None:
    """Before a password is asked for: from elsewhere not even guessing is allowed."""
    if endpoint.is_public_blocked and address.is_global:
        raise Fatal("28000", f"this project takes no connections from public addresses, as {address} is")
    if endpoint.allowed and not any(address in network for network in endpoint.allowed):
        raise Fatal(
            "28000",
            f"the address {address} is not on this project's list of allowed addresses",
            "Add it to the list (ip-allow), or connect from an address that is on it.",
        )


async def prove(
    computes: Computes, wire: Wire, startup: Startup, endpoint: Endpoint | None, secret: bytes,
    end_point: bytes | None,
) -> tuple[Keys, bytes]:  # fmt: skip
    """The keys that the proof left, and the message that tells the client that all is well.

    Whoever names an endpoint or a role that is not there is asked for a password like anybody else, and told
    the same as whoever has a wrong one.
    """
    text = None if endpoint is None else await computes.verifier(endpoint, startup.role)
    verifier = None if text is None else scram.parse(text)
    exchange = Exchange(verifier or scram.mocked(secret, startup.label, startup.role), end_point)
    wire.write(messages.authentication(messages.SASL, exchange.offered()))
    mechanism, first = initial(await said(wire))
    answer = exchange.first(mechanism, first)
    wire.write(messages.authentication(messages.SASL_CONTINUE, answer.encode()))
    proven = exchange.final(text_of(await said(wire)))
    if proven is None or verifier is None or endpoint is None:
        if endpoint is not None:
            computes.refused(endpoint, startup.role)
        raise Fatal("28P01", f'password authentication failed for user "{startup.role}"')
    keys, final = proven
    return keys, messages.authentication(messages.SASL_FINAL, final.encode())


async def said(wire: Wire) -> bytes:
    kind, body = await wire.message(SAID_BYTES_MAX)
    if kind != messages.PASSWORD:
        raise violation("expected an answer to the request for authentication")
    return body


def initial(body: bytes) -> tuple[str, str]:
    mechanism, zero, rest = body.partition(b"\0")
    if not zero or len(rest) < 4 or messages.U32.unpack_from(rest)[0] != len(rest) - 4:
        raise violation("malformed SASL message")
    return text_of(mechanism), text_of(rest[4:])


def text_of(said: bytes) -> str:
    try:
        return said.decode("ascii")
    except UnicodeDecodeError:
        # A role's name may stand there in UTF-8, and is not looked at: the one in the startup packet counts.
        return said.decode("utf-8", errors="replace")

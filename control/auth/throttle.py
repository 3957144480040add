"""How often somebody may try.

Wrong passwords count for an account at an address, and for an account. The first stops whoever guesses from
one place, and harms nobody elsewhere. The second slows down those who guess from many; it refuses only
addresses that the account never signed in from, and never a link in mail. Its name has the password's hash in
it, so that a new password starts anew. Nothing here depends on whether there is an account.
"""

from dataclasses import dataclass
from uuid import UUID

from control.api.operation import Call
from control.identity import sessions
from control.identity.people import Person
from control.mail.limits import digest
from gateway.buckets import Bucket, TooManyCalls
from gateway.kit.addresses import unit


@dataclass(frozen=True, slots=True)
class Try:
    """The tokens that an attempt took, for one that succeeds to give back."""

    buckets: tuple[Bucket, ...]

    def succeed(self, call: Call) -> None:
        if call.ports.buckets is not None and self.buckets:
            call.ports.buckets.give_back(*self.buckets)


async def login(call: Call) -> None:
    """Each attempt, right or wrong: checking a password is work."""
    limits, buckets = call.ports.settings.accounts, call.ports.buckets
    if buckets is not None:
        rate = limits.logins_per_minute / 60
        await buckets.require(Bucket("login", unit(call.visitor.address), rate, limits.login_burst))


async def password(call: Call, name: str, person: Person | None) -> Try:
    """Before a password is checked. ``name`` is what the account was called by."""
    limits, buckets = call.ports.settings.accounts, call.ports.buckets
    if buckets is None:
        return Try(())
    account, address = account_of(name, person), unit(call.visitor.address)
    here = Bucket(
        "password",
        f"{account}:{address}",
        limits.wrong_passwords_per_minute / 60,
        limits.wrong_password_burst,
    )
    everywhere = Bucket(
        "account",
        account,
        limits.account_wrong_passwords_per_minute / 60,
        limits.account_wrong_password_burst,
    )
    await buckets.require(here)
    try:
        await buckets.require(everywhere)
    except TooManyCalls:
        if not await is_familiar(call, person):
            raise
        return Try((here,))
    return Try((here, everywhere))


async def is_familiar(call: Call, person: Person | None) -> bool:
    user_id = person.id if person is not None else UUID(int=0)
    here = unit(call.visitor.address)
    return any(unit(one) == here for one in await sessions.addresses_of(call.db, user_id))


async def token(call: Call, user_id: UUID) -> None:
    """Five a minute for whoever makes tokens for a program."""
    if call.ports.buckets is not None:
        await call.ports.buckets.require(Bucket("token", str(user_id), 5 / 60, 5))


def account_of(name: str, person: Person | None) -> str:
    return digest(name + "\n" + ((person.password_hash if person else None) or ""))

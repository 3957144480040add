"""What happens to accounts, whichever API asks for it.

For somebody who does not know the password or read the mailbox, an address with an account and one without
are the same: the same answers, the same number of hashes, the same rows written.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from control.api.credentials import set_cookie
from control.api.operation import Call
from control.auth import letters, throttle
from control.auth.models import PasswordNotSet, check_strength
from control.identity import links, passwords, people, sessions, tokens
from control.identity.links import NO_CLAIM, Claim, Kind, Used
from control.identity.people import Person
from control.identity.sessions import Opened
from control.identity.tokens import Bearer
from control.mail import limits, outbox
from control.mail.letters import Letter
from gateway.buckets import TooManyCalls
from gateway.kit import ids
from gateway.kit.problem import Refusal, Unauthorized, invalid
from gateway.kit.sql import Db
from gateway.metering import metrics

# News, not links: of use for as long as somebody may wonder.
NEWS_LIFETIME = timedelta(days=3)


class WrongCredentials(Unauthorized):
    status, slug, title = 401, "wrong-credentials", "Wrong e-mail or password"


class EmailUnverified(Refusal):
    status, slug, title = 403, "email-unverified", "E-mail address not confirmed"


class AccountSuspended(Refusal):
    status, slug, title = 403, "account-suspended", "Account suspended"


class LinkUsed(Refusal):
    status, slug, title = 400, "link-expired", "This link cannot be used any more"


class LinkUnknown(Refusal):
    status, slug, title = 404, "link-unknown", "No such link"


@dataclass(frozen=True, slots=True)
class SignedIn:
    person: Person
    opened: Opened
    access_token: str


async def sign_up(call: Call, email: str, password: str, name: str, then: str | None = None) -> UUID:
    """Return the id that the account has, or would have had."""
    check_strength(password, email)
    await limits.require(call, "verify", email)
    claim = await claimed(call, email, password, name)
    async with call.transaction() as db:
        new = await people.create_unless_known(db, "person", name, email)
        person = None if new else await people.find_by_email(db, email)
        if person is not None and person.is_verified:
            # The claim is kept all the same, so that signing in answers as it does for a new account.
            await links.make(db, "verify", email, None, claim)
            await outbox.post(db, email, letters.known_already(person.name), NEWS_LIFETIME)
        else:
            # Whoever opens the link has the address, and gets the password that came with this very link:
            # one that a stranger chose earlier is never confirmed by it.
            assert new is not None or person is not None, "an address that is taken has an owner"
            user_id = new.user_id if new is not None else person.id if person is not None else None
            word = await links.make(db, "verify", email, user_id, claim)
            url = letters.link(call.ports.origin, "verify", word, then)
            await outbox.post(db, email, letters.verification(name, url), links.LIFETIMES["verify"])
    return new.user_id if new else ids.new()


async def claimed(call: Call, email: str, password: str, name: str) -> Claim:
    """Whoever signs up a second time with the same password claims the same, and nobody else does."""
    before = (await links.latest_claim(call.db, email)).password_hash
    is_same = await passwords.matching(password, (before,)) is not None
    # Made in any case, so that nobody learns from the time it takes what was claimed.
    new = await passwords.hashed(password)
    return Claim(name, before if is_same else new)


async def log_in(call: Call, email: str, password: str, *, has_cookie: bool) -> SignedIn:
    with counted("password"):
        return await by_password(call, email, password, has_cookie=has_cookie)


# What an attempt came to, by what is raised.
OUTCOMES: Mapping[type[Exception], str] = {
    WrongCredentials: "wrong",
    LinkUsed: "wrong",
    EmailUnverified: "unverified",
    AccountSuspended: "suspended",
    TooManyCalls: "limited",
}


@contextmanager
def counted(way: str) -> Iterator[None]:
    """Anything else that is raised, an outage say, was no attempt."""
    try:
        yield
    except tuple(OUTCOMES) as error:
        metrics.LOGINS.labels(OUTCOMES[type(error)]).inc()
        raise
    metrics.LOGINS.labels(way).inc()


async def by_password(call: Call, email: str, password: str, *, has_cookie: bool) -> SignedIn:
    await throttle.login(call)
    person = await people.find_by_email(call.db, email)
    attempt = await throttle.password(call, email, person)
    claim = await links.latest_claim(call.db, email)
    stored = person.password_hash if person else None
    position = await passwords.matching(password, (stored, claim.password_hash))
    if position is None:
        await note_failure(call, person)
        raise WrongCredentials("the e-mail address or the password is wrong")
    if position == 1:
        raise EmailUnverified("confirm the address first: the link is in your mail")
    attempt.succeed(call)
    assert person is not None, "its password matched"
    assert stored is not None, "it matched"
    async with call.transaction() as db:
        current = await people.lock(db, person.id)
        if current is None or current.password_hash != stored:
            raise WrongCredentials("the password was changed just now")
        refuse_suspended(call, current)
        signed_in = await open_session(call, db, person.id, has_cookie=has_cookie)
    if passwords.is_outdated(stored):
        await people.rehash(call.db, person.id, stored, await passwords.hashed(password))
    return signed_in


async def note_failure(call: Call, person: Person | None) -> None:
    """Tell the account's owner, in their log; an address without an account takes as long to note."""
    if person is not None:
        call.about(person.id, organization_id=person.organization_id)
    if call.entry is not None:
        await call.entry.write(call.db, "failure", "the password was wrong")


def refuse_suspended(call: Call, person: Person) -> None:
    """Told to nobody but who proved to be this person."""
    if person.suspended_at is not None:
        call.by(person.id)
        call.about(person.id, organization_id=person.organization_id)
        raise AccountSuspended("the operator has suspended this account")


async def open_session(call: Call, db: Db, user_id: UUID, *, has_cookie: bool) -> SignedIn:
    visitor, lifetimes = call.visitor, call.ports.lifetimes
    call.by(user_id)
    opened = await sessions.start(
        db, user_id, visitor.address, visitor.user_agent, lifetimes, has_cookie=has_cookie
    )
    person = await people.find(db, user_id)
    assert person is not None, "the session refers to it"
    # Where its owner looks: a log that nobody reads tells nobody of a thief.
    call.about(opened.session.id, organization_id=person.organization_id)
    return SignedIn(person, opened, access_token(call, user_id, opened.session.id))


def access_token(call: Call, user_id: UUID, session_id: UUID, lifetime: timedelta | None = None) -> str:
    bearer = Bearer(user_id, session_id)
    return tokens.issue(call.ports.keyring, bearer, lifetime or call.ports.lifetimes.access)


def cookie_headers(call: Call, opened: Opened) -> dict[str, str]:
    if opened.cookie is None:
        return {}
    # As long as it may ever be good for; the session behind it may end before.
    longest = call.ports.lifetimes.longest
    return {"Set-Cookie": set_cookie(call.ports.origin, opened.cookie, longest)}


def no_cookie(call: Call) -> dict[str, str]:
    return {"Set-Cookie": set_cookie(call.ports.origin, "", timedelta(0))}


async def mail_link(call: Call, kind: Kind, email: str, then: str | None = None) -> None:
    """Mail a link to whoever has an account, and do as much for whoever has none."""
    await limits.require(call, kind, email)
    async with call.transaction() as db:
        person = await people.find_by_email(db, email)
        claim = await links.sole_claim(db, email)
        is_wanted = person is not None and not (kind == "verify" and person.is_verified)
        user_id = person.id if person is not None and is_wanted else None
        word = await links.make(db, kind, email, user_id, claim if kind == "verify" else NO_CLAIM)
        name = person.name if person is not None else email
        letter = written(kind, name, letters.link(call.ports.origin, kind, word, then))
        await outbox.post(db, email, letter, links.LIFETIMES[kind], is_decoy=user_id is None)


def written(kind: Kind, name: str, url: str) -> Letter:
    match kind:
        case "verify":
            return letters.verification(name, url)
        case "reset":
            return letters.reset(name, url)
        case "magic":
            return letters.sign_in(name, url)


async def sign_in_by_link(call: Call, kind: Kind, word: str, *, has_cookie: bool) -> SignedIn:
    """By a link that proves the address: it is confirmed, and its owner signed in."""
    with counted("link"):
        return await by_link(call, kind, word, has_cookie=has_cookie)


async def by_link(call: Call, kind: Kind, word: str, *, has_cookie: bool) -> SignedIn:
    found = await links.find(call.db, kind, word)
    if found is None or not found.is_open:
        raise LinkUsed("the link is wrong, too old, or was used before: ask for another one")
    async with call.transaction() as db:
        person = await people.lock(db, found.user_id)
        used = await links.use(db, kind, word)
        if used is None or person is None or (kind == "verify" and person.is_verified):
            raise LinkUsed("the link was used before, or the address is confirmed already: sign in")
        refuse_suspended(call, person)
        if not person.is_verified:
            await confirm(call, db, person, used)
        return await open_session(call, db, person.id, has_cookie=has_cookie)


async def confirm(call: Call, db: Db, person: Person, used: Used) -> None:
    """The address is proved. Which password its owner chose is not, where several were.

    A stranger who signed up with the address had a letter sent as well, that looks like the owner's. So then
    none counts, and the owner is mailed a link to choose one.
    """
    assert person.email is not None, "the link was mailed to it"
    is_contested = await links.is_contested(db, person.email, used.password_hash)
    await people.verify(db, person.id, used.name, None if is_contested else used.password_hash)
    await links.void(db, person.id)
    if is_contested:
        word = await links.make(db, "reset", person.email, person.id)
        url = letters.link(call.ports.origin, "reset", word, None)
        letter = letters.contested(used.name or person.name, url)
        await outbox.post(db, person.email, letter, links.LIFETIMES["reset"])


async def reset_password(call: Call, word: str, password: str, pointer: str) -> None:
    found = await links.find(call.db, "reset", word)
    if found is None:
        raise LinkUnknown("no such link was ever mailed")
    if not found.is_open:
        raise LinkUsed("the link is too old or was used before: ask for another one")
    person = await people.find(call.db, found.user_id)
    check_strength(password, (person and person.email) or "", pointer)
    new = await passwords.hashed(password)
    async with call.transaction() as db:
        await people.lock(db, found.user_id)
        if await links.use(db, "reset", word) is None:
            raise LinkUsed("the link was used before: ask for another one")
        call.about(found.user_id, organization_id=person.organization_id if person else None)
        await replace_password(call, db, found.user_id, new, is_proved=True)


async def change_password(call: Call, current: str, password: str, pointers: tuple[str, str]) -> None:
    """``pointers`` name the two passwords in the request."""
    person = await people.find(call.db, call.actor.user_id)
    assert person is not None, "an actor is somebody"
    if person.password_hash is None or person.email is None:
        raise PasswordNotSet("this account has no password: ask for one by e-mail, if it has an address")
    check_strength(password, person.email, pointers[1])
    attempt = await throttle.password(call, person.email, person)
    if await passwords.matching(current, (person.password_hash,)) is None:
        raise invalid(pointers[0], "is not your password")
    attempt.succeed(call)
    new = await passwords.hashed(password)
    async with call.transaction() as db:
        locked = await people.lock(db, person.id)
        if locked is None or locked.password_hash != person.password_hash:
            raise invalid(pointers[0], "is not your password any more")
        await replace_password(call, db, person.id, new, is_proved=False)


async def replace_password(call: Call, db: Db, user_id: UUID, new: str, *, is_proved: bool) -> None:
    """Whoever knew the old one is out, whatever they held."""
    call.by(user_id)
    await people.set_password(db, user_id, new, is_proved=is_proved)
    await links.void(db, user_id)
    await sessions.revoke_all(db, user_id)
    person = await people.find(db, user_id)
    assert person is not None, "it was just changed"
    if person.email is not None:
        await outbox.post(db, person.email, letters.password_changed(person.name), NEWS_LIFETIME)

"""The same accounts under ``/v1/auth``, spelled as its clients spell them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from pydantic import Field

from control.api import credentials
from control.api.answers import Found, Headed
from control.api.credentials import ForeignOrigin
from control.api.operation import Call, Header, Query, Room
from control.auth import accounts, throttle, wire
from control.auth.accounts import (
    AccountSuspended,
    EmailUnverified,
    LinkUnknown,
    LinkUsed,
    SignedIn,
    WrongCredentials,
)
from control.auth.models import PasswordNotSet, Token
from control.identity import people, sessions
from gateway.kit.problem import Refusal, Unauthorized, invalid

CLI_LIFETIME = timedelta(hours=24)


Callback = Annotated[wire.CallbackUrl, Query("callbackURL")]


class SessionNeeded(Refusal):
    status, slug, title = 403, "session-needed", "A signed-in session is needed"


class NotConfigured(Refusal):
    status, slug, title = 503, "not-configured", "Not configured"


async def sign_up(call: Call, *, body: wire.SignUp) -> wire.SignedUp1:
    """Sign up with an e-mail address and a password.

    The address is confirmed by the link in the mail before anybody can sign in. The answer is the same for an
    address that has an account.
    """
    then = own_page(call, body.callback_url, "body/callbackURL")
    user_id = await accounts.sign_up(call, body.email, body.password, body.name, then)
    now = datetime.now(UTC)
    person = wire.Person1(
        id=user_id,
        name=body.name,
        email=body.email,
        email_verified=False,
        image=None,
        created_at=now,
        updated_at=now,
    )
    return wire.SignedUp1(user=person)


async def sign_in(call: Call, *, body: wire.SignIn) -> Headed[wire.SignedIn1]:
    """Sign in with an e-mail address and a password, and get a cookie."""
    require_own_page(call)
    return told(call, await accounts.log_in(call, body.email, body.password, has_cookie=True))


async def sign_in_social(call: Call, *, body: wire.Social) -> wire.Elsewhere:
    """Sign in with an account elsewhere: no provider is configured here, so that it is always 503."""
    raise NotConfigured(f"{body.provider} is not configured here: use an e-mail address")


async def sign_out(call: Call) -> Headed[wire.Success]:
    """End this session. An API key is no session, and stays."""
    if call.actor.kind == "session":
        await sessions.revoke(call.db, call.actor.user_id, call.actor.key_id)
    return Headed(wire.Success(), accounts.no_cookie(call))


async def get_session(
    call: Call,
    *,
    authorization: Annotated[
        str | None, Header("Authorization"), Field(description="`Bearer` and an access token.")
    ] = None,
    cookie: Annotated[str | None, Header("Cookie"), Field(description="A browser's session.")] = None,
) -> wire.Current | None:
    """Show the session and its user; null without one."""
    sent = {"Authorization": authorization, "Cookie": cookie}
    headers = {name: value for name, value in sent.items() if value is not None}
    try:
        found = await credentials.present(call.db, call.ports.asking("GET", headers))
    except Unauthorized:
        return None
    shown = await sessions.find(call.db, found.user_id, found.id)
    person = await people.find(call.db, found.user_id)
    if shown is None or person is None:
        return None
    return wire.Current(session=wire.session_of(person.id, shown), user=wire.person_of(person))


async def send_verification(call: Call, *, body: wire.ForEmail) -> wire.Status:
    """Have the link for confirming an address mailed again."""
    await accounts.mail_link(
        call, "verify", body.email, own_page(call, body.callback_url, "body/callbackURL")
    )
    return wire.Status()


async def verify_email(call: Call, *, token: Token, callback: Callback = None) -> Found:
    """Confirm an e-mail address with the token from the mail, sign in with a cookie, and go on."""
    where = own_page(call, callback, "query/callbackURL")
    return arrived(call, await accounts.sign_in_by_link(call, "verify", token, has_cookie=True), where)


async def send_magic_link(call: Call, *, body: wire.ForEmail) -> wire.Status:
    """Have a link mailed that signs in, if the address has an account."""
    await accounts.mail_link(call, "magic", body.email, own_page(call, body.callback_url, "body/callbackURL"))
    return wire.Status()


async def verify_magic_link(call: Call, *, token: Token, callback: Callback = None) -> Found:
    """Sign in with the token from the mail, get a cookie, and go on."""
    where = own_page(call, callback, "query/callbackURL")
    return arrived(call, await accounts.sign_in_by_link(call, "magic", token, has_cookie=True), where)


async def request_reset(call: Call, *, body: wire.ForReset) -> wire.Status:
    """Have a link for choosing a new password mailed, if the address has an account."""
    await accounts.mail_link(call, "reset", body.email, own_page(call, body.redirect_to, "body/redirectTo"))
    return wire.Status()


async def reset_password(call: Call, *, body: wire.Reset) -> wire.Status:
    """Choose a new password with the token from the mail. Every session ends."""
    await accounts.reset_password(call, body.token, body.new_password, "body/newPassword")
    return wire.Status()


async def change_password(call: Call, *, body: wire.Change) -> wire.Status:
    """Change your password. Every session ends, this one too: sign in again."""
    pointers = ("body/currentPassword", "body/newPassword")
    await accounts.change_password(call, body.current_password, body.new_password, pointers)
    return wire.Status()


async def cli_token(call: Call) -> wire.CliToken:
    """Make a token for a command line, good for a day. It is a session of its own, and revoked like one."""
    if call.actor.kind != "session":
        raise SessionNeeded("an API key makes no tokens: sign in")
    await throttle.token(call, call.actor.user_id)
    visitor, lifetimes = call.visitor, replace(call.ports.lifetimes, idle=CLI_LIFETIME)
    opened = await sessions.start(
        call.db, call.actor.user_id, visitor.address, visitor.user_agent, lifetimes, has_cookie=False
    )
    token = accounts.access_token(call, call.actor.user_id, opened.session.id, CLI_LIFETIME)
    return wire.CliToken(token=token)


def told(call: Call, signed_in: SignedIn) -> Headed[wire.SignedIn1]:
    answer = wire.SignedIn1(token=signed_in.access_token, user=wire.person_of(signed_in.person))
    return Headed(answer, accounts.cookie_headers(call, signed_in.opened))


def arrived(call: Call, signed_in: SignedIn, where: str | None) -> Found:
    return Found(where or "/", accounts.cookie_headers(call, signed_in.opened))


def require_own_page(call: Call) -> None:
    """No other site's page may sign its visitor in, as somebody whom it chose."""
    if call.visitor.origin not in (None, call.ports.origin):
        raise ForeignOrigin(f"sign in from a page of {call.ports.origin}")


def own_page(call: Call, url: str | None, pointer: str) -> str | None:
    """Only a page of ours is gone to: a link of ours that leads elsewhere is what impostors mail."""
    if url is None:
        return None
    text = url.removeprefix(call.ports.origin) or "/"
    # Browsers read a backslash as a slash, and two slashes as another host.
    if not text.startswith("/") or text.startswith("//") or "\\" in text or not text.isprintable():
        raise invalid(pointer, f"is neither a path nor a URL of {call.ports.origin}")
    return text


def register(room: Room) -> None:
    """``routes`` has the room; these are more of its operations."""
    at = "/v1/auth"
    mailed = partial(room.post, access=None, is_transaction=False)
    # A link in mail is a GET, and changes something all the same.
    opened = partial(
        room.get, access=None, fails=[LinkUsed, AccountSuspended], is_transaction=False, is_change=True
    )
    room.post(at=f"{at}/sign-up/email", access=None, is_signup=True, is_transaction=False)(sign_up)
    room.post(
        at=f"{at}/sign-in/email",
        access=None,
        fails=[WrongCredentials, EmailUnverified, AccountSuspended, ForeignOrigin],
        is_transaction=False,
    )(sign_in)
    room.post(at=f"{at}/sign-in/social", access=None, fails=[NotConfigured])(sign_in_social)
    mailed(at=f"{at}/sign-in/magic-link")(send_magic_link)
    opened(at=f"{at}/magic-link/verify")(verify_magic_link)
    mailed(at=f"{at}/send-verification-email")(send_verification)
    opened(at=f"{at}/verify-email", id="auth.verify_email_link")(verify_email)
    mailed(at=f"{at}/request-password-reset")(request_reset)
    # What older clients call it.
    mailed(at=f"{at}/forget-password", id="auth.forget_password")(request_reset)
    mailed(at=f"{at}/reset-password", fails=[LinkUsed, LinkUnknown])(reset_password)
    room.post(
        at=f"{at}/change-password", access="account.write", fails=[PasswordNotSet], is_transaction=False
    )(change_password)
    room.post(at=f"{at}/sign-out", access="account.write")(sign_out)
    room.get(at=f"{at}/get-session", access=None, is_transaction=False)(get_session)
    room.post(at=f"{at}/cli-token", access="account.write", fails=[SessionNeeded])(cli_token)

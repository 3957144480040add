from datetime import UTC, datetime
from uuid import UUID

from control.api.answers import Created, Headed
from control.api.operation import Call, Room
from control.api.paging import Data
from control.auth import accounts, rules, store, v1
from control.auth.accounts import (
    AccountSuspended,
    EmailUnverified,
    LinkUnknown,
    LinkUsed,
    SignedIn,
    WrongCredentials,
)
from control.auth.models import (
    EmailOnly,
    LoggedIn,
    Login,
    Me,
    Message,
    NewAgent,
    NewPerson,
    OperatedUser,
    PasswordChange,
    PasswordNotSet,
    PasswordReset,
    Refresh,
    RegisteredAgent,
    SignedUp,
    TokenOnly,
    TokenPair,
    User,
    UserStanding,
    operated_fields,
    user_fields,
)
from control.identity import keys, people, sessions, welcome
from control.identity.welcome import Agent
from gateway.kit.problem import NotFound, Unauthorized

room = Room("auth", "/auth")

CHECK_MAIL = "If the address has an account, a letter is on its way."


@room.post("/agent", access=None, id="agent_register", is_signup=True)
async def register_agent(call: Call, *, body: NewAgent) -> Created[Data[RegisteredAgent]]:
    """Register an agent.

    Anyone may: the answer has the agent's own organization and the API key that acts for it. The key is in
    this answer and nowhere else. An e-mail address is optional and is not verified.
    """
    name = body.name or rules.made_up_name()
    new = await people.create(call.db, "agent", name, body.email)
    call.by(new.user_id)
    call.about(new.user_id, organization_id=new.organization_id)
    mode = call.ports.mode
    _, key = await keys.issue(call.db, keys.NewKey(new.organization_id, new.user_id, "agent", "agent", mode))
    agent = Agent(
        id=new.user_id,
        name=name,
        email=body.email or "",
        email_verified=False,
        api_key=key,
        organization_id=new.organization_id,
        created_at=new.created_at,
    )
    origin = call.ports.origin
    registered = RegisteredAgent(
        success=True,
        message=f"Welcome, {name}.",
        verification_sent=False,
        verification_required=False,
        next_step=f"Store the api_key, then add funds with POST {origin}/wallet/deposit/crypto, "
        "or pay each call by x402.",
        agent=agent,
        setup=welcome.setup(origin),
        skill_files=welcome.skill_files(origin),
    )
    return Created(Data(data=registered))


@room.post("/signup", access=None, id="signup", is_signup=True, is_transaction=False)
async def sign_up(call: Call, *, body: NewPerson) -> Created[Data[SignedUp]]:
    """Sign up with an e-mail address and a password.

    The account is usable once the link in the mail was opened. The answer is the same for an address that has
    an account, whose owner is written a letter about it: nobody learns here who has one.
    """
    user_id = await accounts.sign_up(call, body.email, body.password, body.name)
    user = User(id=user_id, email=body.email, name=body.name, status="paused", created_at=datetime.now(UTC))
    return Created(Data(data=SignedUp(user=user, message="Confirm the address: the link is in your mail.")))


@room.post(
    "/login",
    access=None,
    id="login",
    fails=[WrongCredentials, EmailUnverified, AccountSuspended],
    is_transaction=False,
)
async def log_in(call: Call, *, body: Login) -> Headed[Data[LoggedIn]]:
    """Sign in with an e-mail address and a password.

    An address without an account and a wrong password are the same 401. Until the address is confirmed the
    right password is 403. A page of this origin gets a cookie as well, which its browser keeps from scripts.
    """
    return told(call, await accounts.log_in(call, body.email, body.password, has_cookie=is_own_page(call)))


@room.post(
    "/verify-email",
    access=None,
    id="verify_email",
    fails=[LinkUsed, AccountSuspended],
    is_transaction=False,
)
async def verify_email(call: Call, *, body: TokenOnly) -> Headed[Data[LoggedIn]]:
    """Confirm an e-mail address with the token from the mail, and sign in."""
    signed_in = await accounts.sign_in_by_link(call, "verify", body.token, has_cookie=is_own_page(call))
    return told(call, signed_in)


@room.post("/resend-verification", access=None, id="resend_verification_email", is_transaction=False)
async def resend_verification(call: Call, *, body: EmailOnly) -> Data[Message]:
    """Have the link for confirming an address mailed again.

    The answer is the same whether or not the address has an account.
    """
    await accounts.mail_link(call, "verify", body.email)
    return Data(data=Message(message=CHECK_MAIL))


@room.post("/forgot-password", access=None, id="forgot_password", is_transaction=False)
async def forgot_password(call: Call, *, body: EmailOnly) -> Data[Message]:
    """Have a link for choosing a new password mailed.

    The answer is the same whether or not the address has an account.
    """
    await accounts.mail_link(call, "reset", body.email)
    return Data(data=Message(message=CHECK_MAIL))


@room.post(
    "/reset-password",
    access=None,
    id="reset_password",
    fails=[LinkUsed, LinkUnknown],
    is_transaction=False,
)
async def reset_password(call: Call, *, body: PasswordReset) -> Data[Message]:
    """Choose a new password with the token from the mail. Every session ends."""
    await accounts.reset_password(call, body.token, body.new_password, "body/new_password")
    return Data(data=Message(message="The password is changed; sign in with it."))


@room.post(
    "/change-password",
    access="account.write",
    id="change_password",
    fails=[PasswordNotSet],
    is_transaction=False,
)
async def change_password(call: Call, *, body: PasswordChange) -> Data[Message]:
    """Change your password. Every session ends, this one too: sign in again."""
    pointers = ("body/current_password", "body/new_password")
    await accounts.change_password(call, body.current_password, body.new_password, pointers)
    return Data(data=Message(message="The password is changed; sign in with it."))


@room.post("/refresh", access=None, id="refresh_token", fails=[Unauthorized], is_transaction=False)
async def refresh(call: Call, *, body: Refresh) -> Data[TokenPair]:
    """Exchange a refresh token for a new pair of tokens.

    Each is good for one exchange. One that comes a second time was copied, so the session ends for everybody
    who has a token of it.
    """
    lifetimes = call.ports.lifetimes
    rotated = await sessions.rotate(call.db, body.refresh_token, lifetimes)
    if rotated is not None:
        person = await people.find(call.db, rotated.session.user_id)
        call.by(rotated.session.user_id)
        call.about(rotated.session.id, organization_id=person.organization_id if person else None)
    if rotated is not None and rotated.refresh_token is None and call.entry is not None:
        await call.entry.write(call.db, "failure", "a refresh token came twice: the session was ended")
    if rotated is None or rotated.refresh_token is None:
        raise Unauthorized("this refresh token is unknown, over, or was used before: sign in again")
    session = rotated.session
    pair = TokenPair(
        access_token=accounts.access_token(call, session.user_id, session.id),
        refresh_token=rotated.refresh_token,
        expires_in=int(lifetimes.access.total_seconds()),
    )
    return Data(data=pair)


@room.post("/logout", access="account.write", id="logout")
async def log_out(call: Call) -> Headed[Data[Message]]:
    """Sign out everywhere: every session of yours ends. API keys stay."""
    count = await sessions.revoke_all(call.db, call.actor.user_id)
    message = Message(message="1 session ended." if count == 1 else f"{count} sessions ended.")
    return Headed(Data(data=message), accounts.no_cookie(call))


@room.get("/me", access="permissions.read", id="get_current_user")
async def me(call: Call) -> Data[Me]:
    """Show who you are, and what you showed to be known by.

    A key without `account.read`, a project's among them, is not told the e-mail address: it may be in hands
    that its user never meant to write to.
    """
    person = await people.find(call.db, call.actor.user_id)
    assert person is not None, "an actor is somebody"
    fields = {**user_fields(person), "default_organization_id": call.actor.organization_id}
    if "account.read" not in call.actor.permissions:
        fields |= {"email": ""}
    if call.actor.kind == "key":
        fields |= await store.key_fields(call.db, call.actor.key_id, person)
    return Data(data=Me.model_validate(fields))


@room.patch(at="/platform/users/{user_id}", access="platform.operate", fails=[NotFound])
async def suspend(call: Call, user_id: UUID, *, body: UserStanding) -> Data[OperatedUser]:
    """Suspend somebody's account, or let them act again.

    Their sessions end, and while they are suspended they cannot sign in and their API keys are refused, paid
    calls included, in every organization. What they own stays. An operator suspends neither themselves nor
    the first operator.
    """
    if not await people.suspend(call.db, user_id, call.actor.user_id, is_suspended=body.is_suspended):
        raise NotFound(f"no account {user_id} that you could suspend")
    if body.is_suspended:
        await sessions.revoke_all(call.db, user_id)
    person = await people.find(call.db, user_id)
    assert person is not None, "it was changed in this transaction"
    return Data(data=OperatedUser.model_validate(operated_fields(person)))


def is_own_page(call: Call) -> bool:
    """Whether a browser's page of ours asks: only such a one is given a cookie, so no other can plant one."""
    return call.visitor.origin == call.ports.origin


def told(call: Call, signed_in: SignedIn) -> Headed[Data[LoggedIn]]:
    person, opened = signed_in.person, signed_in.opened
    lifetimes = call.ports.lifetimes
    assert person.organization_id is not None, "everybody has an organization of their own"
    logged_in = LoggedIn(
        access_token=signed_in.access_token,
        refresh_token=opened.refresh_token,
        expires_in=int(lifetimes.access.total_seconds()),
        user=User.model_validate(user_fields(person)),
        default_organization_id=person.organization_id,
    )
    return Headed(Data(data=logged_in), accounts.cookie_headers(call, opened))


v1.register(room)

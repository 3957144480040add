from control.api.access import PermissionNotHeld
from control.api.operation import Call, Room
from control.api.paging import Data
from control.identity import keys, people, welcome
from control.identity.welcome import Agent
from control.recovery import codes, store
from control.recovery.models import Recovered, RecoverRequest, RecoverySetUp, SetRecoveryRequest
from control.recovery.store import Recovery
from gateway.kit.problem import Refusal
from gateway.ledger import events

room = Room("recovery", "/wallet/recovery")


class WrongRecoveryCode(Refusal):
    status, slug, title = 401, "recovery-code-unknown", "There is no such recovery code"


class NotRecoverable(Refusal):
    status, slug, title = 409, "not-a-personal-wallet", "Only an account's own wallet is recovered"


@room.post(access="api_keys.write", fails=[PermissionNotHeld, NotRecoverable], id="set_recovery")
async def set_recovery(call: Call, *, body: SetRecoveryRequest) -> Data[RecoverySetUp]:
    """Get the code that recovers this account when its API key is lost.

    The code is in this answer and nowhere else: asked again, the answer only says that there is one. With
    `POST /wallet/recover` it makes a key that may do anything in the account's own organization, so a key
    with scopes or spend caps cannot ask for it.
    """
    actor = call.actor
    if actor.is_scoped or actor.is_capped:
        raise PermissionNotHeld("the code gives a key without scopes and caps, which this key is not")
    if not await store.is_own(call.db, actor.user_id, actor.organization_id):
        raise NotRecoverable("a team's members recover their own accounts; its owners make it new keys")
    code = codes.new()
    owner = Recovery(actor.user_id, actor.organization_id, actor.mode)
    is_new, has_email = await store.put(call.db, owner, code, body.email)
    call.about(actor.user_id)
    message = "Write the code down: it is shown this once." if is_new else "There is a code already."
    answer = RecoverySetUp(
        has_recovery=True,
        has_recovery_email=has_email,
        message=message,
        recovery_code=code if is_new else None,
    )
    return Data(data=answer)


@room.post(at="/wallet/recover", access=None, fails=[WrongRecoveryCode], id="wallet_recover", is_signup=True)
async def recover(call: Call, *, body: RecoverRequest) -> Data[Recovered]:
    """Get a new API key with the recovery code, when the old one is lost.

    Every API key of the account is revoked, and the code is replaced: both new ones are in this answer and
    nowhere else. Whose answer was lost on the way may send the same code again within ten minutes, as long as
    the new key was not used.
    """
    code = codes.normal(body.recovery_code)
    owner = await store.take(call.db, code)
    if owner is None:
        raise WrongRecoveryCode("it is unknown, or was replaced when it was used")
    call.by(owner.user_id)
    call.about(owner.user_id, organization_id=owner.organization_id)
    await keys.revoke_of_account(call.db, owner.user_id, owner.organization_id)
    new = keys.NewKey(owner.organization_id, owner.user_id, "recovered", "agent", owner.mode)
    row, key = await keys.issue(call.db, new)
    told = {"key_id": str(row["id"]), "name": row["name"], "key_prefix": row["prefix"], "mode": owner.mode}
    await events.emit(call.db, owner.organization_id, "key.created", told)
    successor = codes.new()
    await store.rotate(call.db, owner.user_id, code, successor, row["id"])
    person = await people.find(call.db, owner.user_id)
    assert person is not None, "people are never removed"
    agent = Agent(
        id=owner.user_id,
        name=person.name,
        email=person.email or "",
        email_verified=person.is_verified,
        api_key=key,
        organization_id=owner.organization_id,
        user_type="agent" if person.kind == "agent" else "user",
        created_at=person.created_at,
    )
    origin = call.ports.origin
    answer = Recovered(
        success=True,
        message="The old keys are revoked. Store the new key and the new code now.",
        agent=agent,
        setup=welcome.setup(origin),
        skill_files=welcome.skill_files(origin),
        new_recovery_code=successor,
    )
    return Data(data=answer)

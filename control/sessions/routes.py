from uuid import UUID

from control.api.operation import Call, Room
from control.api.paging import Data
from control.identity import sessions
from control.sessions.models import Session, SessionsRevoked
from gateway.kit.problem import NotFound

room = Room("sessions", "/sessions")


@room.get(access="account.read", id="list_sessions")
async def index(call: Call) -> list[Session]:
    """List your sessions, the one used last first."""
    actor = call.actor
    return [
        Session(
            id=one.id,
            user_agent=one.user_agent,
            ip_address=one.address,
            created_at=one.created_at,
            last_active_at=one.last_active_at,
            expires_at=one.expires_at,
            is_current=actor.kind == "session" and one.id == actor.key_id,
        )
        for one in await sessions.open_of(call.db, actor.user_id)
    ]


@room.post("/revoke-all", access="account.write", id="revoke_all_sessions")
async def revoke_all(call: Call) -> Data[SessionsRevoked]:
    """Sign out everywhere, here too."""
    return told(await sessions.revoke_all(call.db, call.actor.user_id))


@room.delete("/{session_id}", access="account.write", fails=[NotFound], id="revoke_session")
async def revoke(call: Call, session_id: UUID) -> Data[SessionsRevoked]:
    """End a session of yours. Its tokens and its cookie are refused from now on."""
    if not await sessions.revoke(call.db, call.actor.user_id, session_id):
        raise NotFound(f"no session {session_id}")
    return told(1)


@room.post(
    "/{session_id}/revoke-others", access="account.write", fails=[NotFound], id="revoke_other_sessions"
)
async def revoke_others(call: Call, session_id: UUID) -> Data[SessionsRevoked]:
    """Sign out everywhere but in one session."""
    if await sessions.find(call.db, call.actor.user_id, session_id) is None:
        raise NotFound(f"no session {session_id}")
    return told(await sessions.revoke_all(call.db, call.actor.user_id, but=session_id))


def told(count: int) -> Data[SessionsRevoked]:
    message = "1 session ended." if count == 1 else f"{count} sessions ended."
    return Data(data=SessionsRevoked(message=message, revoked_count=count))

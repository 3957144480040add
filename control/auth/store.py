from uuid import UUID

from control.identity.people import Person
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


async def key_fields(db: Db, key_id: UUID, person: Person) -> dict[str, object]:
    """What ``/auth/me`` says of the key that it is asked with."""
    row = await db.fetchrow(SQL.key, key_id)
    assert row is not None, "it was just shown"
    return {
        "api_key_id": key_id,
        "api_key_type": row["kind"],
        "api_key_scopes": row["scopes"],
        "agent_identity_id": person.id if person.kind == "agent" else None,
    }

"""Projects' branches whose queries are sold: where their servers are, the control plane alone knows."""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import msgspec

from gateway.kit.dsn import Dsn


@dataclass(frozen=True, slots=True)
class Branch:
    """One database of a branch, and the role of ours that may read what is sold of it."""

    organization_id: UUID
    """Whose it has to be, still: projects move."""
    id: UUID
    database: str
    role: str
    password: str = field(repr=False)
    tables: tuple[str, ...]
    """Each with its schema, as in ``public.items``."""


class Branches(Protocol):
    """What the data plane asks of the control plane, for databases that may be asleep."""

    async def wake(self, branch: Branch) -> Dsn:
        """Where to connect, now. The role is there, and may read what is sold. A ``Refusal`` otherwise."""


class Kept(msgspec.Struct):
    """A branch as it is sealed."""

    branch_id: UUID
    database: str
    role: str
    password: str
    tables: tuple[str, ...]


DECODER = msgspec.json.Decoder(Kept)


def sealed_text(branch: Branch) -> str:
    kept = Kept(branch.id, branch.database, branch.role, branch.password, branch.tables)
    return msgspec.json.encode(kept).decode()


def is_branch(text: str) -> bool:
    """A connection string begins with its scheme."""
    return text.startswith("{")


def read(text: str, organization_id: UUID) -> Branch:
    kept = DECODER.decode(text)
    return Branch(organization_id, kept.branch_id, kept.database, kept.role, kept.password, kept.tables)

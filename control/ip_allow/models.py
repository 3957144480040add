from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, field_validator

from control.api.wording import shaped

ENTRIES_MAX = 500

EXAMPLES = "an address or range like 10.0.0.1, 192.168.1.0/24 or 2001:db8::/32"

Network = IPv4Network | IPv6Network


def network_of(text: str) -> Network:
    """One way to write each: an address is a network of one, and IPv4 inside IPv6 is IPv4."""
    address, slash, prefix = text.partition("/")
    try:
        read = ip_address(address)
        mapped = getattr(read, "ipv4_mapped", None)
        if mapped is not None and not slash:
            return ip_network(mapped)
        loose = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            "is not an address or range like 10.0.0.1, 192.168.1.0/24 or 2001:db8::/32"
        ) from None
    if getattr(read, "scope_id", None) is not None or "." in prefix or mapped is not None:
        raise ValueError(f"is not {EXAMPLES}")
    if slash and loose.network_address != read:
        raise ValueError(f"has bits after its prefix: write {loose} for the range, or {read} for the address")
    return loose


def canonical(text: str) -> str:
    return str(network_of(text))


Cidr = Annotated[str, Field(max_length=64), AfterValidator(canonical)]
Description = Annotated[
    str,
    shaped(r"^[^\x00-\x08\x0b-\x1f\x7f]*$", "text without control characters", max_length=500),
]


class NewEntry(BaseModel, extra="forbid"):
    ip_address: Cidr
    description: Description | None = None


class WholeList(BaseModel, extra="forbid"):
    entries: Annotated[list[NewEntry], Field(max_length=ENTRIES_MAX)] = Field(default_factory=list)

    @field_validator("entries")
    @classmethod
    def each_once(cls, entries: list[NewEntry]) -> list[NewEntry]:
        seen = [one.ip_address for one in entries]
        if twice := {one for one in seen if seen.count(one) > 1}:
            raise ValueError(f"has {', '.join(sorted(twice))} twice")
        return entries


class Entry(BaseModel):
    id: UUID
    project_id: UUID
    ip_address: str
    description: str | None
    created_by: UUID
    created_at: datetime
    updated_at: datetime

from uuid import UUID

from control.api.answers import Created
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import RootProjectId
from control.ip_allow import store
from control.ip_allow.models import ENTRIES_MAX, Entry, NewEntry, WholeList
from gateway.kit.problem import NotFound, Refusal

room = Room("ip_allow", "/projects/{project_id}/ip-allow")


class AddressAllowed(Refusal):
    status, slug, title = 409, "ip-address-allowed", "The address is allowed already"


class TooManyAddresses(Refusal):
    status, slug, title = 409, "too-many-ip-addresses", "Too many addresses"


@room.get(access="projects.read", id="list_ip_allow_list")
async def index(call: Call, project_id: RootProjectId) -> Data[list[Entry]]:
    """List the addresses that may connect to a project's databases. An empty list lets all of them.

    With `protected_branches_only` set in the project, it is for its protected branches alone.
    """
    return Data(data=await store.index(call.db, project_id))


@room.post(access="projects.write", fails=[AddressAllowed, TooManyAddresses], id="add_ip_to_allow_list")
async def create(call: Call, project_id: RootProjectId, *, body: NewEntry) -> Created[Data[Entry]]:
    """Allow an address, or a range of addresses, of IPv4 or IPv6.

    It is kept as a range in its shortest form: `10.0.0.1` is `10.0.0.1/32`.
    """
    await store.lock(call.db, project_id)
    entry = await store.insert(call.db, project_id, call.actor.user_id, body)
    if entry is None:
        raise AddressAllowed(f"{body.ip_address} is in the list")
    if await store.count(call.db, project_id) > ENTRIES_MAX:
        raise TooManyAddresses(f"a project's list has up to {ENTRIES_MAX} entries")
    return Created(Data(data=entry))


@room.put("/reset", access="projects.write", id="reset_ip_allow_list")
async def reset(call: Call, project_id: RootProjectId, *, body: WholeList) -> Data[list[Entry]]:
    """Replace the list. Without entries it is empty, and lets everybody connect.

    An entry that was there stays the same entry, by its id.
    """
    await store.lock(call.db, project_id)
    await store.replace(call.db, project_id, call.actor.user_id, body.entries)
    return Data(data=await store.index(call.db, project_id))


@room.delete("/{ip_id}", access="projects.write", fails=[NotFound], id="remove_ip_from_allow_list")
async def delete(call: Call, project_id: RootProjectId, ip_id: UUID) -> None:
    """Take an address off the list. The last one off, everybody may connect."""
    if not await store.delete(call.db, project_id, ip_id):
        raise NotFound(f"no entry {ip_id}")

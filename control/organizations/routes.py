from control.api.operation import Call, Room
from control.api.paging import Data
from control.organizations import store
from control.organizations.models import Organization

room = Room("organizations", "/organizations")


@room.get(access="organizations.read", id="list_organizations")
async def index(call: Call) -> Data[list[Organization]]:
    """List the organizations that you can act for.

    An API key acts for the one organization it was made in.
    """
    own = await store.get(call.db, call.actor.organization_id)
    return Data(data=[own] if own else [])

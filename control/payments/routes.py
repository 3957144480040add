from control.api.operation import Call, Room
from control.payments import rules, store
from control.payments.models import Resources, Supported

room = Room("payments", "/payments")


@room.get("/supported", access=None, id="get_supported")
async def supported(call: Call) -> Supported:
    """List the kinds of x402 payment that are taken here, in both versions of the protocol."""
    return rules.supported(call.ports.settings.networks)


@room.get(at="/facilitator/supported", access=None, id="facilitator_supported")
async def facilitator_supported(call: Call) -> Supported:
    """List the kinds of payment that `/facilitator/verify` and `/facilitator/settle` know."""
    return rules.supported(call.ports.settings.networks)


@room.get(at="/.well-known/x402", access=None, id="x402_resources")
async def resources(call: Call) -> Resources:
    """List what can be bought here by x402, for crawlers.

    Endpoints with a parameter in their path are in the catalog only.
    """
    origin = call.ports.origin
    found = rules.resources(origin, await store.on_sale(call.db))
    return Resources(resources=found, catalog=f"{origin}/publishers")

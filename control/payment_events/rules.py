"""What can be said of an event before Polar is asked about it."""

from control.processors.port import Told
from control.processors.signed import part

# As in control/processors/applying.py.
USED = ("order", "refund", "subscription")


def ignored(told: Told) -> str | None:
    """Why nothing will come of an event, in the words that clients of ``/v1`` know."""
    kind, _, _ = told.type.partition(".")
    if kind not in USED:
        return told.type
    if kind != "subscription":
        return None
    data = told.subject
    customer = data.get("customer_id") or part(data, "customer").get("id")
    product = data.get("product_id") or part(data, "product").get("id")
    if not (data.get("id") and customer and product):
        return "missing_ids"
    return None if part(data, "metadata").get("orgId") else "no_org"

"""What people subscribe to at Polar, and the page where they end it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import uuid4

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from tests.fakes.polar import NOBODY, ORGANIZATION, FakePolar, Json, Refused, now, problem

NO_SUBSCRIPTION = (
    "modified_at", "current_meter_period_start", "current_meter_period_end", "trial_start", "trial_end",
    "canceled_at", "ends_at", "ended_at", "paused_at", "resumes_at", "discount_id", "units", "discount",
    "customer_cancellation_reason", "customer_cancellation_comment", "pending_update",
)  # fmt: skip
NO_PRODUCT = (
    "modified_at", "trial_interval", "trial_interval_count", "description", "meter_interval",
    "meter_interval_count",
)  # fmt: skip


class Session(BaseModel, extra="forbid"):
    """CustomerSessionCustomerIDCreate of the SDK."""

    customer_id: str
    return_url: Annotated[str | None, Field(pattern=r"^https?://", max_length=2083)] = None
    member_id: str | None = None
    external_member_id: str | None = None


def customer(customer_id: str, email: str) -> Json:
    return dict.fromkeys(NOBODY) | {
        "id": customer_id, "created_at": now(), "metadata": {}, "email": email, "email_verified": False,
        "type": "individual", "organization_id": ORGANIZATION,
    }  # fmt: skip


def product(product_id: str) -> Json:
    return dict.fromkeys(NO_PRODUCT) | {
        "id": product_id, "created_at": now(), "name": "Plan", "visibility": "public",
        "recurring_interval": "month", "recurring_interval_count": 1, "is_recurring": True,
        "is_archived": False, "organization_id": ORGANIZATION, "metadata": {}, "is_deletable": False,
        "prices": [], "benefits": [], "medias": [], "attached_custom_fields": [],
    }  # fmt: skip


def subscribe(fake: FakePolar, page_id: str, email: str = "buyer@example.com", **changes: Any) -> Json:
    """Somebody pays on the page. One address is one customer, whatever they buy."""
    page = fake.checkouts[page_id]
    page["status"] = "succeeded"
    email = page["customer_email"] or email
    customer_id = fake.customers.setdefault(email, str(uuid4()))
    start = datetime.now(UTC)
    made: Json = dict.fromkeys(NO_SUBSCRIPTION) | {
        "id": str(uuid4()), "created_at": now(), "amount": page["amount"], "currency": "usd",
        "recurring_interval": "month", "recurring_interval_count": 1, "status": "active",
        "current_period_start": start.isoformat(),
        "current_period_end": (start + timedelta(days=30)).isoformat(),
        "cancel_at_period_end": False, "pause_at_period_end": False, "started_at": start.isoformat(),
        "customer_id": customer_id, "product_id": page["product_id"], "checkout_id": page_id,
        "metadata": page["metadata"], "customer": customer(customer_id, email),
        "product": product(page["product_id"]), "prices": [], "meters": [], **changes,
    }  # fmt: skip
    fake.subscriptions[made["id"]] = made
    return made


def change(fake: FakePolar, subscription_id: str, **changes: Any) -> Json:
    """As it is from now on; what was told before stays as it was."""
    found = fake.subscriptions[subscription_id]
    made = found | {"modified_at": now(), **changes}
    fake.subscriptions[subscription_id] = made
    return made


def end(fake: FakePolar, subscription_id: str) -> Json:
    return change(fake, subscription_id, status="canceled", canceled_at=now(), ended_at=now())


def portal(fake: FakePolar, sent: Any) -> Json:
    try:
        session = Session.model_validate(sent, strict=True)
    except ValidationError as error:
        said = [problem(["body", *map(str, one["loc"])], one["msg"]) for one in error.errors()]
        raise Refused(422, said) from None
    emails = {customer_id: email for email, customer_id in fake.customers.items()}
    if session.customer_id not in emails:
        raise Refused(422, [problem(["body", "customer_id"], "Customer does not exist.")])
    token = f"polar_cst_{uuid4().hex}"
    return {
        "id": str(uuid4()), "created_at": now(), "modified_at": None, "token": token, "expires_at": now(),
        "return_url": session.return_url, "customer_id": session.customer_id,
        "customer_portal_url": f"https://polar.sh/farebox/portal?customer_session_token={token}",
        "customer": customer(session.customer_id, emails[session.customer_id]),
    }  # fmt: skip


def find(fake: FakePolar, request: web.Request) -> Json:
    found = fake.subscriptions.get(request.match_info["id"])
    if found is None:
        raise Refused(404, "Not found", "ResourceNotFound")
    return found


def route(app: web.Application, fake: FakePolar) -> None:
    async def show(request: web.Request) -> web.Response:
        return web.json_response(find(fake, request))

    async def revoke(request: web.Request) -> web.Response:
        found = find(fake, request)
        if found["status"] == "canceled":
            raise Refused(403, "This subscription is already canceled.", "AlreadyCanceledSubscription")
        return web.json_response(end(fake, found["id"]))

    async def open_portal(request: web.Request) -> web.Response:
        return web.json_response(portal(fake, await request.json()), status=201)

    app.router.add_get("/v1/subscriptions/{id}", show)
    app.router.add_delete("/v1/subscriptions/{id}", revoke)
    app.router.add_post("/v1/customer-sessions/", open_portal)

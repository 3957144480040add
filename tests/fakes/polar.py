"""Polar, as far as this gateway asks it. Its SDK reads every field, so every field is there."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import uuid4

from aiohttp import web
from polar.v2026_10.inputs import CheckoutCreate
from pydantic import BaseModel, Field, ValidationError
from standardwebhooks import Webhook

Json: TypeAlias = dict[str, Any]
AMOUNT_MIN = 50
ORGANIZATION = str(uuid4())
NOBODY = (
    "modified_at", "name", "billing_name", "billing_address", "tax_id", "deleted_at", "avatar_url",
    "first_user_event_at",
)  # fmt: skip
NO_ORDER = (
    "modified_at", "billing_name", "billing_address", "invoice_number", "receipt_number", "units",
    "discount_id", "subscription_id", "discount", "subscription", "product", "platform_fee_currency",
)  # fmt: skip


class Price(BaseModel, extra="forbid"):
    """An ad-hoc fixed one: ProductPriceFixedCreate of the SDK."""

    amount_type: Literal["fixed"]
    price_amount: Annotated[int, Field(ge=AMOUNT_MIN, le=99_999_999)]
    price_currency: str = "usd"
    tax_behavior: Literal["location", "inclusive", "exclusive"] | None = None


class Page(BaseModel, extra="allow"):
    """What is asked for of CheckoutCreate of the SDK, whose further names may be there."""

    products: Annotated[list[str], Field(min_length=1)]
    prices: dict[str, Annotated[list[Price], Field(min_length=1)]] | None = None
    currency: str = "usd"
    allow_discount_codes: bool = True
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=500)]],
        Field(max_length=50),
    ] = {}
    success_url: Annotated[str | None, Field(pattern=r"^https?://", max_length=2083)] = None
    customer_email: Annotated[str | None, Field(pattern=r"^[^@]+@[^@]+$")] = None


def now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass(slots=True)
class FakePolar:
    token: str = "polar_oat_" + "c3" * 20
    secret: str = "polar_whs_" + "d4" * 16
    product_id: str = str(uuid4())
    url: str = ""
    checkouts: dict[str, Json] = field(default_factory=dict)
    orders: dict[str, Json] = field(default_factory=dict)
    plans: dict[str, int] = field(default_factory=dict)
    """Products that are subscribed to, and what a month of each costs in cents."""
    subscriptions: dict[str, Json] = field(default_factory=dict)
    customers: dict[str, str] = field(default_factory=dict)
    refunds: list[Json] = field(default_factory=list)
    disputes: list[Json] = field(default_factory=list)
    is_down: bool = False

    # What people and banks do, at Polar.

    def pay(self, paid_id: str, **changes: Any) -> Json:
        """Somebody pays on the page, and sales tax beside it."""
        page = self.checkouts[paid_id]
        page["status"] = "succeeded"
        amount, customer_id = page["amount"], str(uuid4())
        tax = amount * 19 // 100
        order: Json = dict.fromkeys(NO_ORDER) | {
            "id": str(uuid4()), "created_at": now(), "status": "paid", "paid": True,
            "subtotal_amount": amount, "discount_amount": 0, "net_amount": amount, "tax_amount": tax,
            "total_amount": amount + tax,
            "applied_balance_amount": 0, "due_amount": amount + tax, "refunded_amount": 0,
            "refunded_tax_amount": 0, "currency": page["currency"], "billing_reason": "purchase",
            "is_invoice_generated": False, "customer_id": customer_id, "product_id": self.product_id,
            "checkout_id": paid_id, "metadata": page["metadata"], "platform_fee_amount": 0,
            "customer": dict.fromkeys(NOBODY) | {
                "id": customer_id, "created_at": now(), "metadata": {}, "email": "buyer@example.com",
                "email_verified": False, "type": "individual", "organization_id": ORGANIZATION,
            },
            "items": [], "description": "Deposit", "refundable_amount": amount, "refundable_tax_amount": tax,
            **changes,
        }  # fmt: skip
        self.orders[order["id"]] = order
        return order

    def refund(self, order_id: str, amount: int) -> Json:
        order = self.orders[order_id]
        order["refunded_amount"] += amount
        order["status"] = (
            "refunded" if order["refunded_amount"] == order["net_amount"] else "partially_refunded"
        )
        made = {
            "id": str(uuid4()), "created_at": now(), "modified_at": None, "metadata": {},
            "status": "succeeded", "reason": "customer_request", "amount": amount, "tax_amount": 0,
            "currency": order["currency"],
            "organization_id": ORGANIZATION, "order_id": order_id, "subscription_id": None,
            "customer_id": order["customer_id"], "revoke_benefits": False, "dispute": None,
        }  # fmt: skip
        self.refunds.append(made)
        return made

    def signed(self, type: str, data: Json, at: datetime | None = None) -> tuple[bytes, dict[str, str]]:
        """As Polar does: the key is the whole secret, its prefix too."""
        body = json.dumps({"type": type, "timestamp": now(), "api_version": "2026-10", "data": data})
        at, event_id = at or datetime.now(UTC), str(uuid4())
        signature = Webhook(self.secret.encode()).sign(event_id, at, body)
        seconds = str(int(at.timestamp()))
        return body.encode(), {
            "webhook-id": event_id, "webhook-timestamp": seconds, "webhook-signature": signature,
        }  # fmt: skip

    # What its API does.

    def price_of(self, given: Page) -> tuple[str, Price]:
        product_id = given.products[0]
        if product_id in self.plans and given.prices is None and len(given.products) == 1:
            return product_id, Price(amount_type="fixed", price_amount=self.plans[product_id])
        if set(given.prices or ()) != set(given.products) or self.product_id not in given.products:
            raise Refused(422, [problem(["body", "products"], "Product does not exist.")])
        assert given.prices is not None, "they are those of the products"
        return self.product_id, given.prices[self.product_id][0]

    def create(self, given: Page) -> Json:
        product_id, price = self.price_of(given)
        if given.customer_email is not None and given.customer_email.endswith(".invalid"):
            raise Refused(422, [problem(["body", "customer_email"], "The domain name does not exist.")])
        page = dict.fromkeys(NOTHING) | {
            "id": str(uuid4()), "created_at": now(), "payment_processor": "stripe", "status": "open",
            "client_secret": f"polar_c_{uuid4().hex}", "url": f"https://polar.sh/checkout/polar_c_{uuid4().hex}",
            "expires_at": now(), "success_url": given.success_url, "amount": price.price_amount,
            "discount_amount": 0, "net_amount": price.price_amount, "total_amount": price.price_amount,
            "currency": price.price_currency, "organization_id": ORGANIZATION,
            "product_id": product_id, "customer_email": given.customer_email,
            "allow_discount_codes": given.allow_discount_codes,
            "require_billing_address": False, "is_discount_applicable": False,
            "is_free_product_price": False, "is_payment_required": True, "is_payment_setup_required": False,
            "is_payment_form_required": True, "is_business_customer": False, "payment_processor_metadata": {},
            "metadata": given.metadata, "billing_address_fields": dict.fromkeys(ADDRESS, "optional"),
            "products": [], "customer_metadata": {},
        }  # fmt: skip
        self.checkouts[str(page["id"])] = page
        return page


ADDRESS = ("country", "state", "city", "postal_code", "line1", "line2")
NOTHING = (
    "modified_at", "return_url", "embed_origin", "units", "min_units", "max_units", "tax_amount",
    "tax_behavior",
    "allow_trial", "active_trial_interval", "active_trial_interval_count", "trial_end", "product_price_id",
    "discount_id", "customer_id", "customer_name", "customer_email", "customer_ip_address",
    "customer_billing_name", "customer_billing_address", "customer_tax_id", "payment_method_type",
    "trial_interval", "trial_interval_count", "external_customer_id", "product", "product_price", "prices",
    "discount", "subscription_id", "attached_custom_fields",
)  # fmt: skip


class Refused(Exception):
    def __init__(self, status: int, detail: Any, error: str = "RequestValidationError") -> None:
        super().__init__(detail)
        self.status, self.said = status, {"error": error, "detail": detail}


def problem(place: list[str], text: str) -> Json:
    return {"loc": place, "msg": text, "type": "value_error"}


def admitting(fake: FakePolar) -> Any:
    @web.middleware
    async def admit(request: web.Request, handler: Any) -> web.StreamResponse:
        if fake.is_down:
            return web.json_response({"error": "InternalServerError"}, status=500)
        if request.headers.get("Authorization") != f"Bearer {fake.token}":
            return web.json_response({"error": "invalid_token"}, status=401)
        try:
            response: web.StreamResponse = await handler(request)
        except Refused as refused:
            response = web.json_response(refused.said, status=refused.status)
        return response

    return admit


def listing(known: Callable[[], Iterable[Json]]) -> Any:
    async def show(request: web.Request) -> web.Response:
        page, limit = int(request.query["page"]), int(request.query["limit"])
        found = [one for one in list(known())[::-1] if is_asked_for(one, request.query)]
        paging = {"total_count": len(found), "max_page": max(1, -(-len(found) // limit))}
        items = found[(page - 1) * limit : page * limit]
        return web.json_response({"items": items, "pagination": paging})

    return show


def is_asked_for(one: Json, query: Mapping[str, str]) -> bool:
    since = datetime.fromisoformat(query.get("created_after", "2000-01-01T00:00:00+00:00"))
    is_of_order = "order_id" not in query or one["order_id"] == query["order_id"]
    return is_of_order and datetime.fromisoformat(one["created_at"]) >= since


async def read(request: web.Request) -> Page:
    sent = await request.json()
    if unknown := set(sent) - set(CheckoutCreate.__annotations__):
        raise Refused(422, [problem(["body", *unknown], "Extra inputs are not permitted")])
    try:
        return Page.model_validate(sent, strict=True)
    except ValidationError as error:
        said = [problem(["body", *map(str, one["loc"])], one["msg"]) for one in error.errors()]
        raise Refused(422, said) from None


def application(fake: FakePolar) -> web.Application:
    async def create(request: web.Request) -> web.Response:
        return web.json_response(fake.create(await read(request)), status=201)

    async def order(request: web.Request) -> web.Response:
        found = fake.orders.get(request.match_info["id"])
        if found is None:
            raise Refused(404, "Not found", "ResourceNotFound")
        return web.json_response(found)

    app = web.Application(middlewares=[admitting(fake)])
    app.router.add_post("/v1/checkouts/", create)
    app.router.add_get("/v1/orders/{id}", order)
    app.router.add_get("/v1/refunds/", listing(lambda: fake.refunds))
    app.router.add_get("/v1/disputes/", listing(lambda: fake.disputes))
    app.router.add_get("/v1/orders/", listing(fake.orders.values))
    return app


@asynccontextmanager
async def running(
    fake: FakePolar, *more: Callable[[web.Application, "FakePolar"], None]
) -> AsyncIterator[FakePolar]:
    app = application(fake)
    for route in more:
        route(app, fake)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()

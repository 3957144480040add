"""Stripe, as far as this gateway asks it: as strict about parameters and keys, and in its words.

Objects are those of Stripe's published fixtures; which parameters there are is what the SDK's types say,
which are generated from Stripe's own description of its API.
"""

import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import stripe.params as params
from aiohttp import web
from stripe import WebhookSignature
from stripe.params import checkout

from tests.fakes.form import BadParameter, checked, parsed

Json: TypeAlias = dict[str, Any]
OBJECTS: Mapping[str, Json] = json.loads(Path(__file__).with_name("stripe_objects.json").read_text())
PREFIXES = {
    "charge": "ch",
    "checkout.session": "cs_test",
    "customer": "cus",
    "dispute": "du",
    "event": "evt",
    "payment_intent": "pi",
    "payment_method": "pm",
    "refund": "re",
    "setup_intent": "seti",
}
AMOUNT_MIN = 50


class Refused(Exception):
    def __init__(self, status: int, **error: Any) -> None:
        super().__init__(error)
        self.status, self.error = status, error


@dataclass(slots=True)
class FakeStripe:
    key: str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
    secret: str = "whsec_" + "a1" * 16
    url: str = ""
    objects: dict[str, Json] = field(default_factory=dict)
    answers: dict[str, tuple[str, int, Json]] = field(default_factory=dict)
    """By idempotency key: what was asked, and what was said."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    is_down: bool = False
    """Answers 500 before anything is done."""
    is_forgetful: bool = False
    """Does what it is asked, and the answer is lost."""

    # What people and banks do, at Stripe.

    def pay(self, session_id: str, **changes: Any) -> Json:
        """Somebody pays on the page."""
        session = self.objects[session_id]
        intent = self.succeed(
            self.new_intent(session["amount_total"], session["payment_intent_metadata"])["id"]
        )
        session |= {"status": "complete", "payment_status": "paid", "payment_intent": intent["id"]}
        session |= {"url": None, **changes}
        return session

    def succeed(self, intent_id: str) -> Json:
        intent = self.objects[intent_id]
        charge = self.new(
            "charge", amount=intent["amount"], amount_captured=intent["amount"], captured=True,
            payment_intent=intent_id, paid=True, payment_method=None, metadata=intent["metadata"],
        )  # fmt: skip
        intent |= {"status": "succeeded", "amount_received": intent["amount"], "latest_charge": charge["id"]}
        return intent

    def decline(self, intent_id: str) -> Json:
        intent = self.objects[intent_id]
        error = {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}
        intent |= {"status": "requires_payment_method", "last_payment_error": error}
        return intent

    def expire(self, session_id: str) -> Json:
        session = self.objects[session_id]
        session |= {"status": "expired", "url": None}
        return session

    def refund(self, intent_id: str, amount: int, status: str = "succeeded") -> Json:
        charge = self.objects[self.objects[intent_id]["latest_charge"]]
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        return self.new("refund", amount=amount, charge=charge["id"], payment_intent=intent_id, status=status)

    def dispute(self, intent_id: str, status: str = "needs_response") -> Json:
        charge = self.objects[self.objects[intent_id]["latest_charge"]]
        charge["disputed"] = True
        return self.new(
            "dispute", amount=charge["amount"], charge=charge["id"], payment_intent=intent_id, status=status
        )

    def card(self, **changes: Any) -> Json:
        """What Stripe's script makes of a card in the browser."""
        made = self.new("payment_method", customer=None)
        made["card"] |= changes
        return made

    def told(self, type: str, subject: Json, **changes: Any) -> Json:
        """An event, as it is sent."""
        event = self.new("event", type=type, api_version="2026-10-28.endive")
        return event | {"data": {"object": deepcopy(subject)}, "pending_webhooks": 1, **changes}

    def signed(self, event: Json, at: int | None = None, secret: str | None = None) -> tuple[bytes, str]:
        body = json.dumps(event, indent=2)
        return body.encode(), WebhookSignature.generate_signature_header(body, secret or self.secret, at)

    # What its API does.

    def new(self, kind: str, **changes: Any) -> Json:
        made = deepcopy(OBJECTS[kind])
        made["id"] = f"{PREFIXES[kind]}_{secrets.token_hex(12)}"
        made |= {"created": int(time.time()), "livemode": False, **changes}
        self.objects[made["id"]] = made
        return made

    def new_intent(self, amount: int, metadata: Json, **changes: Any) -> Json:
        intent = self.new("payment_intent", amount=amount, metadata=metadata, **changes)
        intent["client_secret"] = f"{intent['id']}_secret_{secrets.token_hex(12)}"
        return intent

    def create_session(self, given: Json) -> Json:
        for name in ("line_items", "success_url"):
            if given.get("mode") == "payment" and name not in given:
                raise BadParameter("parameter_missing", name, f"Missing required param: {name}.")
        (line,) = given["line_items"]
        amount = at_least(line["price_data"]["unit_amount"] * line["quantity"], "line_items[0][price_data]")
        session = self.new(
            "checkout.session", amount_total=amount, amount_subtotal=amount, mode=given["mode"],
            currency=line["price_data"]["currency"], metadata=given.get("metadata", {}),
            client_reference_id=given.get("client_reference_id"), success_url=given["success_url"],
            cancel_url=given.get("cancel_url"), payment_intent=None, ui_mode="hosted",
            expires_at=int(time.time()) + 86400,
        )  # fmt: skip
        session["url"] = f"https://checkout.stripe.com/c/pay/{session['id']}"
        session["payment_intent_metadata"] = given.get("payment_intent_data", {}).get("metadata", {})
        return session

    def create_intent(self, given: Json) -> Json:
        amount = at_least(given["amount"], "amount")
        return self.new_intent(
            amount, given.get("metadata", {}), currency=given["currency"], status="requires_payment_method",
            description=given.get("description"), customer=given.get("customer"),
        )  # fmt: skip

    def cancel_intent(self, given: Json, intent_id: str) -> Json:
        intent = self.find(intent_id, "payment_intent", "intent")
        if intent["status"] in ("succeeded", "canceled"):
            text = f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
            raise Refused(
                400, type="invalid_request_error", code="payment_intent_unexpected_state", message=text
            )
        intent |= {"status": "canceled", "canceled_at": int(time.time())}
        return intent

    def create_customer(self, given: Json) -> Json:
        return self.new("customer", metadata=given.get("metadata", {}))

    def create_setup(self, given: Json) -> Json:
        self.find(given["customer"], "customer", "customer")
        made = self.new("setup_intent", customer=given["customer"])
        made["client_secret"] = f"{made['id']}_secret_{secrets.token_hex(12)}"
        return made

    def attach(self, given: Json, method_id: str) -> Json:
        method = self.find(method_id, "payment_method", "payment_method")
        self.find(given["customer"], "customer", "customer")
        if method["card"]["last4"] == "0002":
            raise Refused(
                402, type="card_error", code="card_declined", decline_code="generic_decline",
                message="Your card was declined.",
            )  # fmt: skip
        if method["customer"] not in (None, given["customer"]):
            text = "The payment method you provided has already been attached to a customer."
            raise Refused(400, type="invalid_request_error", message=text)
        method["customer"] = given["customer"]
        return method

    def detach(self, given: Json, method_id: str) -> Json:
        method = self.find(method_id, "payment_method", "payment_method")
        if method["customer"] is None:
            text = (
                "The payment method you provided is not attached to a customer so detachment is impossible."
            )
            raise Refused(400, type="invalid_request_error", message=text)
        method["customer"] = None
        return method

    def find(self, id: str, kind: str, noun: str) -> Json:
        found = self.objects.get(id)
        if found is None or found["object"] != kind:
            raise Refused(
                404, type="invalid_request_error", code="resource_missing", param=noun,
                message=f"No such {noun}: '{id}'",
            )  # fmt: skip
        return found

    def page(self, kind: str, given: Json) -> Json:
        """The newest first."""
        found = [one for one in reversed(self.objects.values()) if one["object"] == kind]
        if (intent_id := given.get("payment_intent")) is not None:
            found = [one for one in found if one["payment_intent"] == intent_id]
        since = given.get("created", {}).get("gte", 0)
        found = [one for one in found if one["created"] >= since]
        if (after := given.get("starting_after")) is not None:
            found = found[[one["id"] for one in found].index(after) + 1 :]
        limit = given.get("limit", 10)
        return {
            "object": "list",
            "url": f"/v1/{kind}s",
            "has_more": len(found) > limit,
            "data": found[:limit],
        }

    def shown(self, kind: str, noun: str) -> Callable[..., Json]:
        def show(given: Json, id: str) -> Json:
            found = deepcopy(self.find(id, kind, noun))
            for name in given.get("expand", []):
                found[name] = self.objects.get(found[name] or "")
            return found

        return show


def at_least(amount: int, param: str) -> int:
    if amount < AMOUNT_MIN:
        text = "Amount must convert to at least 50 cents."
        raise Refused(400, type="invalid_request_error", code="amount_too_small", param=param, message=text)
    return amount


def application(fake: FakeStripe) -> web.Application:
    app = web.Application()

    def add(method: str, path: str, type: Any, act: Callable[..., Json]) -> None:
        async def run(request: web.Request) -> web.Response:
            response = await answer(fake, request, type, act)
            if fake.is_forgetful and request.transport is not None:
                request.transport.abort()
            return response

        app.router.add_route(method, f"/v1/{path}", run)

    add("POST", "checkout/sessions", checkout.SessionCreateParams, fake.create_session)
    add(
        "GET",
        "checkout/sessions/{id}",
        checkout.SessionRetrieveParams,
        fake.shown("checkout.session", "session"),
    )
    add("POST", "payment_intents", params.PaymentIntentCreateParams, fake.create_intent)
    add(
        "GET", "payment_intents", params.PaymentIntentListParams,
        lambda given: fake.page("payment_intent", given),
    )  # fmt: skip
    add(
        "GET",
        "payment_intents/{id}",
        params.PaymentIntentRetrieveParams,
        fake.shown("payment_intent", "intent"),
    )
    add("POST", "payment_intents/{id}/cancel", params.PaymentIntentCancelParams, fake.cancel_intent)
    add("POST", "customers", params.CustomerCreateParams, fake.create_customer)
    add("POST", "setup_intents", params.SetupIntentCreateParams, fake.create_setup)
    shown = fake.shown("payment_method", "payment_method")
    add("GET", "payment_methods/{id}", params.PaymentMethodRetrieveParams, shown)
    add("POST", "payment_methods/{id}/attach", params.PaymentMethodAttachParams, fake.attach)
    add("POST", "payment_methods/{id}/detach", params.PaymentMethodDetachParams, fake.detach)
    add("GET", "refunds", params.RefundListParams, lambda given: fake.page("refund", given))
    add("GET", "disputes", params.DisputeListParams, lambda given: fake.page("dispute", given))
    return app


async def answer(fake: FakeStripe, request: web.Request, type: Any, act: Callable[..., Json]) -> web.Response:
    body = (await request.text()) if request.method == "POST" else request.query_string
    fake.asked.append((request.method, request.path))
    key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    asked = f"{request.path}?{body}"
    if fake.is_down:
        return failure(Refused(500, type="api_error", message="An unknown error occurred"))
    try:
        if request.headers.get("Authorization") != f"Bearer {fake.key}":
            raise Refused(401, type="invalid_request_error", message="Invalid API Key provided: sk_test_***")
        if key is not None and key in fake.answers:
            return again(key, asked, *fake.answers[key])
        given = checked(type, parsed(body))
        # Whatever was begun is what the key stands for, a refusal too.
        status, said = attempted(act, given, dict(request.match_info))
    except Refused as refused:
        return failure(refused)
    except BadParameter as bad:
        return failure(
            Refused(400, type="invalid_request_error", code=bad.code, param=bad.param, message=bad.message)
        )
    if key is not None:
        fake.answers[key] = (asked, status, deepcopy(said))
    return respond(status, said)


def attempted(act: Callable[..., Json], given: Json, path: dict[str, str]) -> tuple[int, Json]:
    try:
        return 200, act(given, *path.values())
    except Refused as refused:
        return refused.status, {"error": refused.error}


def again(key: str, asked: str, first: str, status: int, said: Json) -> web.Response:
    if asked != first:
        text = (
            "Keys for idempotent requests can only be used with the same parameters they were first used "
            f"with. Try using a key other than '{key}' if you meant to execute a different request."
        )
        raise Refused(400, type="idempotency_error", message=text)
    return respond(status, said, {"Idempotent-Replayed": "true"})


def failure(refused: Refused) -> web.Response:
    return respond(refused.status, {"error": refused.error})


def respond(status: int, said: Json, headers: Mapping[str, str] | None = None) -> web.Response:
    request_id = f"req_{secrets.token_hex(7)}"
    shown = {name: value for name, value in said.items() if name != "payment_intent_metadata"}
    return web.json_response(
        shown,
        status=status,
        headers={"Request-Id": request_id, "Stripe-Version": "2026-10-28.endive", **(headers or {})},
    )


@asynccontextmanager
async def running(fake: FakeStripe) -> AsyncIterator[FakeStripe]:
    runner = web.AppRunner(application(fake), access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()

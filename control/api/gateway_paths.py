"""The paths that the gateway answers itself, for the document: no room serves them."""

from typing import Any, TypeAlias

from control.api import gateway_queries

Json: TypeAlias = dict[str, Any]

METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
WITH_BODY = ("post", "put", "patch", "delete")

SLUG: Json = {
    "name": "slug",
    "in": "path",
    "required": True,
    "description": "The publisher.",
    "schema": {"type": "string"},
}
PATH: Json = {
    "name": "path",
    "in": "path",
    "required": True,
    "description": "The rest of the URL, slashes included: it is what the publisher's API is asked for.",
    "schema": {"type": "string"},
}
PAYMENTS: list[Json] = [
    {
        "name": "PAYMENT-SIGNATURE",
        "in": "header",
        "description": "An x402 payment, version 2, for what the 402 asked. Not together with X-PAYMENT.",
        "schema": {"type": "string"},
    },
    {
        "name": "X-PAYMENT",
        "in": "header",
        "description": "The same, in version 1.",
        "schema": {"type": "string"},
    },
]
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Your own name for this request. Sent again under it within a day, it has the answer that "
    "it had before, with `Idempotent-Replayed: true`, and nothing is done or charged twice; another request "
    "is 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
MAX_PRICE: Json = {
    "name": "X-Max-Price",
    "in": "header",
    "required": False,
    "description": "The most you want to pay for this call: `0.05`, or `USDC 0.05` for one asset only. A "
    "dearer call is 402 `price-above-max` before anything is reserved.",
    "schema": {
        "type": "string",
        "pattern": r"^([A-Za-z][A-Za-z0-9._-]{0,15} )?(0|[1-9][0-9]{0,59})(\.[0-9]{1,36})?$",
    },
}
PAYMENT_REQUIRED: Json = {
    "description": "Not paid, or not enough: the header and the body say what is taken",
    "headers": {
        "PAYMENT-REQUIRED": {
            "description": "The x402 version 2 offer: base64 of JSON.",
            "schema": {"type": "string"},
        }
    },
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "description": "The x402 version 1 offer.",
                "required": ["x402Version", "accepts", "error"],
                "properties": {
                    "x402Version": {"type": "integer"},
                    "accepts": {"type": "array", "items": {"type": "object"}},
                    "error": {"type": "string"},
                },
            }
        }
    },
}
REFUSALS = {
    "400": "The request or its payment header is malformed",
    "401": "The API key is not valid",
    "403": "The publisher does not sell this endpoint, the key may not spend, its spend cap is reached, or "
    "the caller has to connect an account first, at `connect_url`",
    "404": "No such publisher, or no such endpoint where only documented ones are served",
    "408": "The request's body came too slowly; not charged",
    "409": "This payment or key belongs to another request, or its answer is not there to be given again",
    "413": "The request body is too large",
    "429": "Too many calls by key, from an address or to a publisher; Retry-After says for how long",
    "431": "The request's head is too large",
    "502": "The upstream did not answer properly; not charged",
    "503": "Something is down or busy, or the payment is pending; Retry-After says when to come back",
    "504": "The upstream took too long; not charged",
}


def describe(problem: Json) -> Json:
    refusals = {
        status: {"description": text, "content": {"application/problem+json": {"schema": problem}}}
        for status, text in REFUSALS.items()
    }
    root = {
        method: proxied(f"publisher_root_{method}", method, [SLUG], refusals)
        for method in METHODS
        # The bare slug shows the store's page to those who only look.
        if method not in ("get", "head")
    }
    below = {
        method: proxied(f"proxy_to_publisher_{method}", method, [SLUG, PATH], refusals) for method in METHODS
    }
    root["post"] = gateway_queries.sold_too(root["post"], problem)
    return {
        "/publishers/{slug}": root,
        "/publishers/{slug}/{path}": below,
        "/healthz": {"get": probe("healthz", "Tell whether the process is alive.")},
        "/readyz": {
            "get": probe("readyz", "Tell whether a paid call can be served, dependency by dependency.")
        },
        "/.well-known/jwks.json": {
            "get": plain("jwks", "Show the keys that sign the word for a caller.", "application/json")
        },
        "/openapi.json": {"get": plain("openapi", "Show this document.", "application/json")},
        "/auth/link": {"get": plain("link", "Show the page that links in mail lead to.", "text/html")},
        "/docs": {"get": plain("docs", "Show this document to people.", "text/html")},
    }


def proxied(name: str, method: str, parameters: list[Json], refusals: Json) -> Json:
    out: Json = {
        "operationId": name,
        "tags": ["gateway"],
        "summary": "Call the publisher's API, and pay for it.",
        "description": "An API key pays from its organization's balance; without one, the 402 says how to "
        "pay by x402. Any other answer is the upstream's own, and only a 2xx is charged for.",
        # An API key, or nothing: a payment identifies its payer.
        "security": [{"bearer_auth": []}, {}],
        "parameters": [*parameters, *PAYMENTS, IDEMPOTENCY_KEY, MAX_PRICE],
        "responses": {
            "200": {
                "description": "The upstream's answer, of whatever type and 2xx status",
                "headers": {
                    "PAYMENT-RESPONSE": {
                        "description": "The receipt of an x402 payment: base64 of JSON.",
                        "schema": {"type": "string"},
                    },
                    "X-Farebox-Charged": {
                        "description": "What the call cost, like 0.25 USDC; absent when it cost nothing.",
                        "schema": {"type": "string"},
                    },
                    "X-Farebox-Call-Id": {
                        "description": "The call's name in the gateway's log. Refusals have it too.",
                        "schema": {"type": "string", "format": "uuid"},
                    },
                    "Idempotent-Replayed": {
                        "description": "`true` when this call was made and charged before.",
                        "schema": {"type": "string"},
                    },
                },
                "content": {"*/*": {}},
            },
            "402": PAYMENT_REQUIRED,
            **refusals,
        },
    }
    if method in WITH_BODY:
        out["requestBody"] = {"required": False, "content": {"*/*": {}}}
    return out


def probe(name: str, summary: str) -> Json:
    out = plain(name, summary, "application/json")
    if name == "readyz":
        out["responses"]["503"] = {"description": "Not now", "content": {"application/json": {}}}
    return out


def plain(name: str, summary: str, content_type: str) -> Json:
    return {
        "operationId": name,
        "tags": ["gateway"],
        "summary": summary,
        "security": [],
        "responses": {"200": {"description": summary, "content": {content_type: {}}}},
    }

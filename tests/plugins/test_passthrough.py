from collections.abc import Callable, Mapping
from typing import Any

import pytest
from multidict import CIMultiDict
from pydantic import ValidationError

from gateway.auth_mode import dump_settings
from gateway.types import Outbound, Vouched
from plugins.passthrough import MODE

CLIENT = CIMultiDict(
    [
        ("X-Token", "t"),
        ("x-account", "a"),
        ("X-Other", "o"),
        ("X-Tag", "1"),
        ("x-tag", "2"),
        ("Accept", "*/*"),
    ]
)


@pytest.mark.parametrize(
    ("allowed", "rewrite", "headers"),
    [
        ([], {}, {}),
        (["X-Token"], {}, {"X-Token": "t"}),
        (["x-token", "X-Account"], {}, {"x-token": "t", "X-Account": "a"}),
        (["X-Missing"], {}, {}),
        (["X-Token"], {"X-Token": "Authorization"}, {"Authorization": "t"}),
        (["x-token"], {"X-TOKEN": "X-API-Key"}, {"X-API-Key": "t"}),
        (["X-Tag"], {}, {"X-Tag": "1, 2"}),  # RFC 9110 section 5.2
        (["X-Token", "X-Account"], {"X-Token": "X-Account", "X-Account": "B"}, {"X-Account": "t", "B": "a"}),
    ],
)  # fmt: skip
async def test_only_listed_headers_travel_on(
    outbound: Callable[..., Outbound],
    allowed: list[str],
    rewrite: Mapping[str, str],
    headers: Mapping[str, str],
) -> None:
    saved = MODE.settings.model_validate(
        {"allowed_passthrough_headers": allowed, "passthrough_header_rewrite": rewrite}
    )
    assert await MODE.authorize(saved, outbound(CLIENT)) == Vouched(headers, is_selective=True)
    assert MODE.settings.model_validate(dump_settings(saved)) == saved


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",  # the caller's key to the gateway
        "x-api-key",
        "Cookie",         # the console's session, on the same origin
        "PAYMENT-SIGNATURE",
        "payment-required",
        "X-PAYMENT",
        "X-Payment-Upstream",
        "X-AGENT-WALLET",
        "Proxy-Authorization",
        "X-Forwarded-For",
        "Forwarded",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "TE",
        "X A",
        "X-A\r\nX-B",
        "",
    ],
)  # fmt: skip
def test_what_speaks_to_the_gateway_is_refused_when_saved(name: str) -> None:
    with pytest.raises(ValidationError):
        MODE.settings.model_validate({"allowed_passthrough_headers": [name]})
    with pytest.raises(ValidationError):
        MODE.settings.model_validate(
            {"allowed_passthrough_headers": [name], "passthrough_header_rewrite": {name: "X-Fine"}}
        )


@pytest.mark.parametrize(
    "settings",
    [
        {"passthrough_header_rewrite": {"X-Token": "Authorization"}},  # not on the list
        {"allowed_passthrough_headers": ["X-A"], "passthrough_header_rewrite": {"X-A": "Host"}},
        {"allowed_passthrough_headers": ["X-A"], "passthrough_header_rewrite": {"X-A": "Content-Length"}},
        {"allowed_passthrough_headers": ["X-A"], "passthrough_header_rewrite": {"X-A": "X-B", "x-a": "X-C"}},
        {"allowed_passthrough_headers": ["X-A", "X-B"], "passthrough_header_rewrite": {"X-A": "x-b"}},
        {"allowed_passthrough_headers": [f"X-{number}" for number in range(65)]},
        {"allowed_passthrough_headers": "X-A"},
    ],
)
def test_an_ambiguous_list_is_refused_when_saved(settings: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MODE.settings.model_validate(settings)

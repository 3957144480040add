from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.auth_mode import dump_settings
from gateway.types import Outbound, Vouched
from plugins.static import MODE


@pytest.mark.parametrize(
    ("settings", "vouched"),
    [
        ({}, Vouched()),  # an upstream that asks for nothing
        ({"upstream_api_key": "k"}, Vouched({"Authorization": "Bearer k"})),
        ({"upstream_api_key": "Bearer k"}, Vouched({"Authorization": "Bearer k"})),
        ({"upstream_api_key": "Basic dTpw"}, Vouched({"Authorization": "Basic dTpw"})),
        (
            {"upstream_api_key": "k", "api_key_header": "authorization"},
            Vouched({"authorization": "Bearer k"}),
        ),
        ({"upstream_api_key": "k", "api_key_header": "X-API-Key"}, Vouched({"X-API-Key": "k"})),
        ({"upstream_api_key": "k", "api_key_header": "api_key"}, Vouched({"api_key": "k"})),
        ({"upstream_api_key": "k&l=m", "api_key_query_param": "key"}, Vouched({}, {"key": "k&l=m"})),
        ({"api_key_header": "X-API-Key"}, Vouched()),  # where the key goes, before there is one
        ({"api_key_query_param": "key"}, Vouched()),
        ({"api_headers": {"Authorization": "bare"}}, Vouched({"Authorization": "bare"})),
        (
            {"upstream_api_key": "k", "api_headers": {"X-Account": "a", "X-Version": "2"}},
            Vouched({"Authorization": "Bearer k", "X-Account": "a", "X-Version": "2"}),
        ),
        (
            {"upstream_api_key": "k", "api_key_query_param": "key", "api_headers": {"Authorization": "a b"}},
            Vouched({"Authorization": "a b"}, {"key": "k"}),
        ),
    ],
)
async def test_adds_what_the_publisher_set(
    outbound: Callable[..., Outbound], settings: Mapping[str, Any], vouched: Vouched
) -> None:
    saved = MODE.settings.model_validate(settings)
    assert await MODE.authorize(saved, outbound()) == vouched
    assert MODE.settings.model_validate(dump_settings(saved)) == saved


@pytest.mark.parametrize(
    "settings",
    [
        {"upstream_api_key": "kéy"},                                    # not ASCII
        {"upstream_api_key": "k\r\nX-Admin: 1"},                        # a header of its own
        {"upstream_api_key": "k\n"},                                    # what a paste often brings
        {"upstream_api_key": " k"},
        {"upstream_api_key": "k\x00"},
        {"upstream_api_key": ""},
        {"upstream_api_key": " "},
        {"upstream_api_key": "k" * 8193},
        {"api_key_header": "X-API-Key: 1\r\nX"},
        {"api_key_header": "X API Key"},
        {"api_key_header": ""},
        {"api_key_header": "Transfer-Encoding"},                        # not a publisher's business
        {"api_key_header": "content-length"},
        {"api_key_header": "Content_Length"},                           # some servers take it for the same
        {"api_key_header": "Proxy-Connection"},
        {"api_key_header": "host"},
        {"api_key_header": "X-API-Key", "api_key_query_param": "key"},  # one place
        {"api_key_query_param": "a=b&key"},
        {"api_headers": {"Connection": "close"}},
        {"api_headers": {"X-A": "1\r\nHost: evil"}},
        {"api_headers": {"X-A": "1", "x-a": "2"}},                      # which one?
        {"upstream_api_key": "k", "api_headers": {"authorization": "Basic x"}},
        {"api_headers": {f"X-{number}": "v" for number in range(65)}},
        {"upstream_api_kee": "k"},
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_when_saved(settings: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MODE.settings.model_validate(settings)


def test_the_secrets_are_never_shown() -> None:
    settings = MODE.settings.model_validate({"upstream_api_key": "s3cret", "api_headers": {"X-A": "s3cret"}})
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()

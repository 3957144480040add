"""A publisher's upstream credentials: picked out of a request, checked by their auth mode, sealed."""

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError

from control.api.wording import sentence
from control.publishers.models import UpstreamAuth
from gateway.auth_mode import AuthMode, called_urls, dump_settings, revealed
from gateway.kit import crypto
from gateway.kit.crypto import Keyring
from gateway.kit.problem import FieldProblem, Invalid, invalid

FIELDS: Final = frozenset(UpstreamAuth.model_fields) - {"auth_type", "auth_settings"}
# These say where a credential goes, not what it is; they are stored in the open too, to be read back.
SHOWN: Final = frozenset(
    {"api_key_header", "api_key_query_param", "allowed_passthrough_headers", "passthrough_header_rewrite"}
)
# Part of what is documented of any publisher, whether or not its auth mode looks at them.
OF_EVERY_MODE: Final = frozenset({"allowed_passthrough_headers", "passthrough_header_rewrite"})


def sent(body: UpstreamAuth) -> dict[str, Any]:
    """What a request says about credentials, secrets revealed. Null says nothing."""
    given = revealed(body.model_dump(include=set(FIELDS), exclude_unset=True, exclude_none=True))
    assert isinstance(given, dict)
    return given


def settle(
    modes: Mapping[str, AuthMode[Any]], auth_type: str, stored: Mapping[str, Any], body: UpstreamAuth
) -> BaseModel:
    """Return the mode's settings: what was stored, overlaid with what was sent.

    Empty text, an empty list or an empty object takes a value away.
    """
    mode = modes.get(auth_type)
    if mode is None:
        raise invalid("body/auth_type", f"is not one of the installed modes: {', '.join(sorted(modes))}")
    own, given, more = mode.settings.model_fields, sent(body), body.auth_settings or {}
    foreign = [
        FieldProblem(pointer=f"body/{name}", detail=f"is not used by auth_type {auth_type}")
        for name, value in given.items()
        if name not in own and name not in OF_EVERY_MODE and is_something(value)
    ]
    values = {name: value for name, value in stored.items() if name in own}
    values |= {name: value for name, value in given.items() if name in own} | more
    try:
        settings: BaseModel = TypeAdapter(mode.settings).validate_python(
            {name: value for name, value in values.items() if is_something(value)}
        )
    except ValidationError as error:
        raise Invalid([*foreign, *problems(error, more)]) from None
    if foreign:
        raise Invalid(foreign)
    return settings


def is_something(value: object) -> bool:
    return value is not None and value not in ("", [], {}, ())


def problems(error: ValidationError, more: Mapping[str, Any]) -> list[FieldProblem]:
    """Name each field as the request did."""
    out = []
    for one in error.errors(include_url=False, include_input=False):
        path = [str(part) for part in one["loc"]]
        place = ["body", "auth_settings"] if path and path[0] in more else ["body"]
        out.append(FieldProblem(pointer="/".join([*place, *path]), detail=sentence(one)))
    return out


def urls(settings: BaseModel) -> dict[str, str]:
    """The URLs that the mode itself will ask, by the names of their fields."""
    called = set(called_urls(settings))
    return {
        name: getattr(settings, name)
        for name in type(settings).model_fields
        if isinstance(getattr(settings, name), str) and getattr(settings, name) in called
    }


def seal(keyring: Keyring, organization_id: UUID, publisher_id: UUID, settings: BaseModel) -> bytes | None:
    """None for settings that say nothing."""
    values = {name: value for name, value in dump_settings(settings).items() if is_something(value)}
    if not values:
        return None
    return keyring.seal(json.dumps(values).encode(), crypto.context(organization_id, publisher_id))


def unseal(
    keyring: Keyring, organization_id: UUID, publisher_id: UUID, sealed: bytes | None
) -> dict[str, Any]:
    if sealed is None:
        return {}
    opened: dict[str, Any] = json.loads(keyring.open(sealed, crypto.context(organization_id, publisher_id)))
    return opened

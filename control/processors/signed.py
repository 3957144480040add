"""What a signed body says: JSON that a stranger cannot have written, and that is looked at all the same."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from control.processors.port import BadPayload


def object_of(body: bytes) -> Mapping[str, Any]:
    try:
        told = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise BadPayload("the body is not JSON") from None
    if not isinstance(told, dict) or b"\0" in body:
        raise BadPayload("the body is not an event")
    return told


def text(told: Mapping[str, Any], name: str) -> str:
    """An id or a type: short, and something that a database takes."""
    value = told.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable():
        raise BadPayload(f"the event has no {name}")
    return value


def part(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    return found if isinstance(found, dict) else {}

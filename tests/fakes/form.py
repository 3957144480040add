"""Bodies as Stripe takes them: names with brackets, and no parameter that the SDK's own types do not have."""

import sys
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from pydantic import ConfigDict, TypeAdapter, ValidationError
from stripe import RequestOptions
from typing_extensions import TypedDict

CODES = {
    "extra_forbidden": "parameter_unknown",
    "missing": "parameter_missing",
    "int_parsing": "parameter_invalid_integer",
}


class BadParameter(Exception):
    """One that Stripe refuses, as it says it."""

    def __init__(self, code: str, param: str, message: str) -> None:
        super().__init__(message)
        self.code, self.param, self.message = code, param, message


def parsed(encoded: str) -> dict[str, Any]:
    """``a[b][0][c]=d`` is ``{"a": {"b": [{"c": "d"}]}}``."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        first, *rest = name.replace("]", "").split("[")
        at = tree
        for part, following in zip([first, *rest], rest, strict=False):
            at = at.setdefault(part, {})
            assert isinstance(at, dict), (name, following)
        at[rest[-1] if rest else first] = value
    return {name: listed(value) for name, value in tree.items()}


def listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: listed(one) for name, one in value.items()}
    is_list = inner and all(name.isdecimal() for name in inner)
    return [inner[name] for name in sorted(inner, key=int)] if is_list else inner


@cache
def adapter(params: Any) -> TypeAdapter[Any]:
    """Of what is sent: the SDK's types have the options of a request beside its parameters."""
    options = RequestOptions.__annotations__
    hints = {name: hint for name, hint in params.__annotations__.items() if name not in options}
    sent = TypedDict(params.__name__, hints)  # type: ignore[misc]
    sent.__pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)  # type: ignore[attr-defined]
    made: TypeAdapter[Any] = TypeAdapter(sent)
    made.rebuild(raise_errors=True, _types_namespace=vars(sys.modules[params.__module__]))
    return made


def checked(params: Any, given: dict[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = adapter(params).validate_python(given, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"] if str(part) not in ("list", "union")]
        param = path[0] + "".join(f"[{part}]" for part in path[1:])
        code = CODES.get(first["type"], "parameter_invalid")
        raise BadParameter(code, param, message(code, param, first["input"])) from None
    return found


def message(code: str, param: str, value: object) -> str:
    if code == "parameter_unknown":
        return f"Received unknown parameter: {param}"
    if code == "parameter_missing":
        return f"Missing required param: {param}."
    return f"Invalid value for {param}: {value}"

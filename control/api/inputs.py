"""What a request brings, checked: every bad field is noted, so that a client mends them in one go."""

import math
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from multidict import MultiMapping
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from control.api.operation import Handler, Input
from control.api.wording import sentence
from gateway.kit.problem import FieldProblem

SURROGATE = re.compile("[\ud800-\udfff]")


@cache
def is_raw(handler: Handler) -> bool:
    """Whether an operation takes its body as it came: a signature is made of the very bytes."""
    return typing.get_type_hints(handler).get("body") is bytes


def parse(item: Input, raw: str | None, problems: list[FieldProblem]) -> Any:
    pointer = f"{item.place}/{item.name}"
    if raw is None:
        problems.append(FieldProblem(pointer=pointer, detail="is required"))
    elif flaw := unstorable(raw):
        problems.append(FieldProblem(pointer=pointer, detail=flaw))
    else:
        try:
            return item.adapter.validate_python(raw)
        except ValidationError as error:
            problems.extend(field_problems(error, pointer, raw))
    return None


def rest_of(
    inputs: Iterable[Input], query: MultiMapping[str], problems: list[FieldProblem]
) -> dict[str, list[tuple[str, str]]]:
    """All of a query that nothing else reads, for the parameter that wants it. Names may come repeatedly."""
    wanting = next((one.parameter for one in inputs if one.place == "rest"), None)
    if wanting is None:
        return {}
    known = {one.name for one in inputs if one.place == "query"}
    found = [(name, value) for name, value in query.items() if name not in known]
    for name, value in found:
        if flaw := unstorable(name) or unstorable(value):
            problems.append(FieldProblem(pointer="query", detail=f"a parameter {flaw}"))
    return {wanting: found}


def parse_body(
    adapter: TypeAdapter[Any], headers: Mapping[str, str], raw: bytes, problems: list[FieldProblem]
) -> Any:
    if not raw and is_optional(adapter):
        return None
    kind = headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        problems.append(FieldProblem(pointer="body", detail="send it as application/json"))
        return None
    if not raw.strip():
        problems.append(FieldProblem(pointer="body", detail="is required: send JSON"))
        return None
    said: Any = None
    try:
        said = from_json(raw, allow_inf_nan=False)
        flaws = list(flaws_in(said, "body"))
        if not flaws:
            # Strict: a number is no text and "yes" is no boolean, just as the document says.
            return adapter.validate_json(raw, strict=True)
        problems.extend(flaws)
    except ValidationError as error:
        problems.extend(field_problems(error, "body", said))
    except ValueError as error:
        problems.append(FieldProblem(pointer="body", detail=f"is not JSON: {error}"))
    return None


def is_optional(body: TypeAdapter[Any]) -> bool:
    """A body that may be null may also be left out."""
    return bool(body.core_schema["type"] == "nullable")


def field_problems(error: ValidationError, place: str, said: object) -> Iterator[FieldProblem]:
    """``include_input`` is off because the input may be a secret."""
    for one in error.errors(include_url=False, include_input=False):
        pointer = "/".join([place, *steps_in(said, one["loc"], is_missing=one["type"] == "missing")])
        yield FieldProblem(pointer=pointer, detail=sentence(one))


def steps_in(said: object, location: Sequence[int | str], *, is_missing: bool) -> Iterator[str]:
    """The way to a value in what was sent. Pydantic's also has the alternatives of a type that it tried."""
    for number, step in enumerate(location):
        is_name = isinstance(said, dict) and step in said
        if is_name or (isinstance(said, list) and isinstance(step, int) and step < len(said)):
            said = said[step]  # type: ignore[index]
        elif not is_missing or number + 1 < len(location):
            continue
        yield str(step)


def unstorable(value: object) -> str | None:
    """What Postgres would refuse with an error that names no field."""
    if isinstance(value, float) and not math.isfinite(value):
        return "is too large a number"
    if not isinstance(value, str):
        return None
    if "\0" in value:
        return "contains the character U+0000"
    # Header bytes that are not UTF-8 arrive as surrogates.
    return "is not valid UTF-8" if SURROGATE.search(value) else None


def flaws_in(value: Any, pointer: str) -> Iterator[FieldProblem]:
    """Every text, key and number in a JSON value that cannot be stored. The parser bounds the depth."""
    if isinstance(value, dict):
        if flaw := next(filter(None, map(unstorable, value)), None):
            yield FieldProblem(pointer=pointer, detail=f"a name in it {flaw}")
            return
        parts: Iterable[tuple[object, Any]] = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    else:
        if flaw := unstorable(value):
            yield FieldProblem(pointer=pointer, detail=flaw)
        return
    for name, part in parts:
        yield from flaws_in(part, f"{pointer}/{name}")

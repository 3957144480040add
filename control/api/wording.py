"""What is wrong with a value, in words for whoever typed it, and not for who wrote the check."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import Field

# Said beside each pattern, and found by it again: an error of pydantic's knows the pattern and nothing else.
SAID: dict[str, str] = {}

BOOLEANS: Final = {"True": "true", "False": "false"}


def shaped(pattern: str, words: str, **more: Any) -> Any:
    """A field of text in a certain form. ``words`` end the sentence "it should be …"."""
    assert SAID.setdefault(pattern, words) == words, f"{pattern} is called two things"
    return Field(pattern=pattern, **more)


def of_pattern(context: Mapping[str, Any]) -> str:
    # A plugin's settings have patterns of their own.
    return f"should be {SAID.get(context['pattern'], 'of another form')}"


def characters(context: Mapping[str, Any], bound: str) -> str:
    length = context[f"{bound}_length"]
    word = "most" if bound == "max" else "least"
    return f"should have at {word} {length} character{'s' if length != 1 else ''}"


def items(context: Mapping[str, Any], bound: str) -> str:
    length = context[f"{bound}_length"]
    return f"should have at {'most' if bound == 'max' else 'least'} {length} item{'s' if length != 1 else ''}"


SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda context: "is required",
    "extra_forbidden": lambda context: "is not a field here",
    "string_pattern_mismatch": of_pattern,
    "string_too_short": lambda context: characters(context, "min"),
    "string_too_long": lambda context: characters(context, "max"),
    "too_short": lambda context: items(context, "min"),
    "too_long": lambda context: items(context, "max"),
    "string_type": lambda context: "should be text",
    "int_type": lambda context: "should be a whole number",
    "int_parsing": lambda context: "should be a whole number",
    "int_parsing_size": lambda context: "is too large a number",
    "int_from_float": lambda context: "should be a whole number",
    "float_type": lambda context: "should be a number",
    "float_parsing": lambda context: "should be a number",
    "bool_type": lambda context: "should be true or false",
    "bool_parsing": lambda context: "should be true or false",
    "list_type": lambda context: "should be a list",
    "dict_type": lambda context: "should be an object",
    "model_type": lambda context: "should be an object",
    "model_attributes_type": lambda context: "should be an object",
    "uuid_type": lambda context: "should be a UUID",
    "uuid_parsing": lambda context: "should be a UUID",
    "datetime_type": lambda context: "should be a time like 2026-01-31T12:00:00Z",
    "datetime_parsing": lambda context: "should be a time like 2026-01-31T12:00:00Z",
    "datetime_from_date_parsing": lambda context: "should be a time like 2026-01-31T12:00:00Z",
    "timezone_aware": lambda context: "should be a time with its zone, like 2026-01-31T12:00:00Z",
    # As JSON has them; the rest is as it is written there.
    "literal_error": lambda context: f"should be {BOOLEANS.get(context['expected'], context['expected'])}",
    "enum": lambda context: f"should be {context['expected']}",
    "greater_than": lambda context: f"should be more than {context['gt']}",
    "greater_than_equal": lambda context: f"should be at least {context['ge']}",
    "less_than": lambda context: f"should be less than {context['lt']}",
    "less_than_equal": lambda context: f"should be at most {context['le']}",
    "union_tag_not_found": lambda context: f"should have a {context['discriminator']}",
    "union_tag_invalid": lambda context: (
        f"should have a {context['discriminator']} that is one of {context['expected_tags']}"
    ),
    "json_invalid": lambda context: f"is not JSON: {context['error']}",
}


def sentence(error: Mapping[str, Any]) -> str:
    """Of one of pydantic's errors. What is not among these is a sentence of our own validators already."""
    say = SENTENCES.get(error["type"])
    return str(error["msg"]).removeprefix("Value error, ") if say is None else say(error.get("ctx", {}))

"""Lists in the environment."""

import json


def parse_json(value: object) -> object:
    """Lists arrive from the environment as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None

"""Rules about settings: each is explained where an operator looks."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from config.settings import DEFAULTS, AssetSettings, Network, Settings

TEXT = DEFAULTS.read_text()


def fields(model: type[BaseModel], section: str = "") -> Iterator[tuple[str, str]]:
    """Every setting as its section and its name."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, name)
        else:
            yield section, name


def sections() -> dict[str, list[str]]:
    """The lines of the file by section, commented settings included; "" before the first."""
    found: dict[str, list[str]] = {"": []}
    current = ""
    for line in TEXT.splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            current = header[1]
            found[current] = []
        else:
            found[current].append(line)
    return found


@pytest.mark.parametrize(("section", "name"), list(fields(Settings)))
def test_every_setting_is_in_the_defaults_with_a_comment(section: str, name: str) -> None:
    lines = sections()[section]
    at = next((at for at, line in enumerate(lines) if re.match(rf"(# )?{name} = ", line)), None)
    assert at is not None, f"{name} is not in default.toml"
    # The comment stands above it, or above the settings that it explains together.
    above = at
    while above and re.match(r"(# )?\w+ = ", lines[above]):
        above -= 1
    assert lines[above].startswith("#"), f"{name} has no comment"


@pytest.mark.parametrize("model", [Network, AssetSettings])
def test_every_setting_of_a_network_is_shown(model: type[BaseModel]) -> None:
    shown = "\n".join(line for line in sections()[""] if line.startswith("#"))
    assert [name for name in model.model_fields if not re.search(rf"\b{name} = ", shown)] == []


def test_the_defaults_have_no_setting_that_is_not_read() -> None:
    known = {(section, name) for section, name in fields(Settings)}
    given = tomllib.loads(TEXT)
    there = {
        (section, name) if isinstance(value, dict) else ("", section)
        for section, value in given.items()
        for name in (value if isinstance(value, dict) else [section])
    }
    assert there <= known

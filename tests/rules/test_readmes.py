"""What the documents name is there: files, links, and headings that are linked to."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("bench", "config", "control", "gateway", "plugins", "tests")
# A code span that is a file's name, and no pattern or variable.
FILE = re.compile(r"`([\w/.-]+\.(?:py|sql|toml|js|mjs|yml))`")
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
# An example of one that somebody may write.
EXAMPLES = {"0007_webhooks.sql"}


def files(*patterns: str) -> list[Path]:
    found = [path for room in ROOMS for one in patterns for path in (ROOT / room).rglob(one)]
    return [path for path in found if "node_modules" not in path.parts]


# The changelog tells of what was, too.
DOCUMENTS = [*(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"), *files("*.md")]
# As a table of the gateway's says them.
SHORT = {"P/": "tests/paths/", "T/": "tests/gateway/"}


@cache
def paths() -> tuple[str, ...]:
    # With a slash in front, so that a name is not found at the end of a longer one.
    return tuple(f"/{path.relative_to(ROOT)}" for path in [*ROOT.iterdir(), *files("*.*")])


@cache
def anchors(document: Path) -> set[str]:
    """As GitHub makes them."""
    titles = HEADING.findall(document.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: str(one.relative_to(ROOT)))
def test_what_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    names = [SHORT.get(name[:2], name[:2]) + name[2:] for name in FILE.findall(text) if name not in EXAMPLES]
    missing = [name for name in names if not any(path.endswith(f"/{name}") for path in paths())]
    for name, anchor in LINK.findall(text):
        if name.startswith("http"):
            continue
        target = document.parent / name if name else document
        target = target / "README.md" if target.is_dir() and anchor else target
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(f"{name}#{anchor}")
    assert missing == []

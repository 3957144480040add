"""Which publishers fit a task, by the words they share. Pure: the same words always give the same order."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORDS_MAX = 20
WORD = re.compile(r"[^\W_]+")
# Words that say nothing about what is wanted.
EMPTY = frozenset(
    {
        "a", "an", "and", "api", "are", "as", "at", "be", "by", "can", "do", "for", "from", "get", "give",
        "how", "i", "in", "is", "it", "me", "my", "of", "on", "or", "please", "the", "this", "to", "use",
        "using", "want", "with", "you",
    }
)  # fmt: skip
# Where a word says most, first.
WEIGHTS = {
    "name": 1.0,
    "slug": 1.0,
    "capabilities": 1.0,
    "categories": 0.8,
    "use_cases": 0.8,
    "description": 0.5,
}


@dataclass(frozen=True, slots=True)
class Fit:
    score: float
    reason: str


def stems(text: str) -> list[str]:
    """The distinct words of a text, without their commonest endings: ``scraping`` and ``scrape`` are both
    scrap.
    """
    words = (word for word in WORD.findall(text.lower()) if word not in EMPTY)
    return list(dict.fromkeys(stem(word) for word in words))


def stem(word: str) -> str:
    for ending in ("ings", "ing", "ers", "er", "ed", "es", "e", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def fit(wanted: Sequence[str], publisher: Mapping[str, Any]) -> Fit | None:
    """None when no word is found.

    The score is the mean, over the words, of the best place each is found in.
    """
    places = {name: set(stems(flat(publisher.get(name)))) for name in WEIGHTS}
    best = {
        word: max(found, key=WEIGHTS.__getitem__)
        for word in wanted
        if (found := [name for name, words in places.items() if word in words])
    }
    if not best:
        return None
    score = sum(WEIGHTS[name] for name in best.values()) / len(wanted)
    reason = ", ".join(f"{word} in {name.replace('_', ' ')}" for word, name in best.items())
    return Fit(round(score, 3), f"Matches {reason}")


def flat(value: str | Iterable[str] | None) -> str:
    return value if isinstance(value, str) else " ".join(value or ())

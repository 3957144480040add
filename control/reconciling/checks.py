"""What is compared with what, and what a difference is."""

from dataclasses import dataclass

# Of each check: a bug has usually made one of the first differences, and a report is read by a person.
SHOWN_MAX = 100


@dataclass(frozen=True, slots=True)
class Difference:
    subject: str
    """Which row: its kind and its id."""
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Result:
    """Of one check. ``obstacle`` says why it could not be made."""

    name: str
    meaning: str
    differences: tuple[Difference, ...] = ()
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    results: tuple[Result, ...]

    @property
    def differences(self) -> int:
        return sum(len(one.differences) for one in self.results)

    @property
    def obstacles(self) -> int:
        return sum(one.obstacle is not None for one in self.results)

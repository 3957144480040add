"""What a caller is told of a query that failed.

Not what the server says of it, once it has seen data: an error that quotes a value, as a cast of text to a
number does, would give for nothing what is sold. Nor what tells an object that may not be read from one that
does not exist.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from gateway.kit.problem import Problem, Refusal
from gateway.upstreams.exchange import UpstreamImproper
from gateway.upstreams.postgres_wire import ServerError, TooLarge

# Insufficient privilege, and no such table, schema: one answer for all of them.
HIDDEN = frozenset({"42501", "42P01", "3F000"})
NOT_THERE = "42P01"
STOPPED = frozenset({"57014", "25P04"})
Outcome: TypeAlias = Literal["answered", "stopped", "refused", "lost", "left"]
"""For Prometheus: what became of a statement."""
TEXTS: Mapping[str, str] = {
    "22": "a value does not fit where it is used",
    "23": "it would break a rule of the data",
    "25": "it does more than read",
    "42": "it does not fit the database",
    "53": "it takes more than the database has",
    "54": "it is too complex",
    "55": "something that it needs is in use",
    "57": "it was stopped",
}


class QueryFailed(Refusal):
    status, slug, title = 400, "query-failed", "The query failed"
    outcome = "upstream_refused"

    def __init__(self, state: str, why: str) -> None:
        super().__init__(f"{why} (SQLSTATE {state}); nothing was charged")
        self.state = state

    def problem(self) -> Problem:
        return super().problem().model_copy(update={"sqlstate": self.state})


class QuerySlow(Refusal):
    """The caller's statement, not the publisher's database: it must not close it for others."""

    status, slug, title = 400, "query-timeout", "The query takes too long"
    outcome = "upstream_refused"

    def __init__(self, seconds_max: int) -> None:
        super().__init__(f"it was stopped after {seconds_max} seconds; nothing was charged")


class RowsTooLarge(Refusal):
    status, slug, title = 400, "result-too-large", "The result is too large"
    outcome = "upstream_refused"

    def __init__(self, row_bytes_max: int, answer_bytes_max: int) -> None:
        super().__init__(
            f"a row has at most {row_bytes_max} bytes and a result {answer_bytes_max}; nothing was charged"
        )


class QueryLost(UpstreamImproper):
    slug, title = "query-lost", "The database went away"


def lost() -> Refusal:
    return QueryLost("the publisher's database went away; nothing was charged")


class DatabaseBusy(Refusal):
    status, slug, title = 503, "database-busy", "Database busy"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class DatabaseUnsafe(UpstreamImproper):
    """Told to callers too, because its publisher is the first of them."""

    slug, title = "database-unsafe", "The publisher's database is not set up safely"

    def __init__(self, *, is_powerful: bool) -> None:
        powerful = "the role may do more than read what is sold: it needs one without any membership"
        watched = (
            "callers see each other's queries: a superuser has to ALTER ROLE … SET track_activities = off"
        )
        super().__init__(f"{powerful if is_powerful else watched}; nothing was charged")


def came_to(error: BaseException) -> Outcome:
    """What an error that ended a statement says of it."""
    if isinstance(error, QuerySlow | RowsTooLarge) or (
        isinstance(error, QueryFailed) and error.state in STOPPED
    ):
        return "stopped"
    if isinstance(error, Refusal):
        return "refused" if error.status == 400 else "lost"
    return "left"


def cut_off(error: Exception) -> Outcome:
    """The same of one that broke an answer off."""
    is_ours = isinstance(error, TooLarge | TimeoutError)
    is_stopped = is_ours or (isinstance(error, ServerError) and error.state in STOPPED)
    return "stopped" if is_stopped else "lost"


def failed(error: ServerError, *, is_before_data: bool) -> Refusal:
    state = error.state
    if state in HIDDEN:
        return QueryFailed(NOT_THERE, "it names something that does not exist, or that may not be read")
    if state in STOPPED:
        return QueryFailed(state, "it was stopped, because it takes too long")
    if state.startswith(("57P", "08", "XX")):
        return QueryLost("the publisher's database stopped the query; nothing was charged")
    if is_before_data and state.startswith("42"):
        return QueryFailed(state, error.fields.get("M", "")[:300])
    return QueryFailed(state, TEXTS.get(state[:2], "the database refused it"))

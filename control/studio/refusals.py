"""Why a project's database did not do what it was asked. Whoever asks owns it, so its words are theirs."""

from control.computes.provider import ComputeUnavailable
from gateway.kit.problem import Problem, Refusal
from gateway.upstreams.postgres_wire import ServerError

TEXT_MAX = 1000
# Of a statement. The server stops what takes longer.
STATEMENT_SECONDS = 5
# Other objects depend on it, or it is locked or in use.
DEPENDENT, FEATURE, LOCKED = "2BP01", "0A000", ("55P03", "55006")
TAKEN = ("42P07", "42710")


class QueryFailed(Refusal):
    status, slug, title = 400, "query-failed", "The database refused it"

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.fields.get("M", "")[:TEXT_MAX])
        self.error = error

    def problem(self) -> Problem:
        fields = self.error.fields
        told = {"sqlstate": self.error.state, "hint": fields.get("H"), "position": fields.get("P")}
        told["context"] = fields.get("D")
        known = {name: text[:TEXT_MAX] for name, text in told.items() if text}
        return super().problem().model_copy(update=known)


class TooSlow(Refusal):
    status, slug, title = 400, "query-timeout", "It takes too long"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"it was stopped after {seconds} seconds, and nothing was changed")


class ResultTooLarge(Refusal):
    status, slug, title = 400, "result-too-large", "The result is too large"

    def __init__(self, bytes_max: int) -> None:
        super().__init__(
            f"it has more than {bytes_max} bytes, and nothing was changed: ask for fewer rows or columns"
        )


class StillReferenced(Refusal):
    status, slug, title = 409, "still-referenced", "Something depends on it"


class NameTaken(Refusal):
    status, slug, title = 409, "name-taken", "There is one of this name"


class InUse(Refusal):
    status, slug, title = 409, "table-in-use", "Somebody else is using it"


class SessionRefused(Refusal):
    status, slug, title = 409, "session-refused", "The database refused the session"


def refusal_of(error: ServerError, *, is_raw: bool) -> Refusal:
    """What a statement of the tenant's own runs into is told as it is; ours are known, and so is why."""
    state, text = error.state, error.fields.get("M", "")[:TEXT_MAX]
    if state in ("57014", "25P04"):
        return TooSlow(STATEMENT_SECONDS)
    if state.startswith(("57", "58", "08")):
        return ComputeUnavailable("the database stopped, and nothing was changed")
    if is_raw:
        return QueryFailed(error)
    if state == DEPENDENT or (state == FEATURE and text.startswith("cannot truncate")):
        return StillReferenced(text)
    if state in LOCKED:
        return InUse("somebody holds a lock on it, or something of it is in use: try again")
    return NameTaken(text) if state in TAKEN else QueryFailed(error)

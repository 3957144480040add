"""How ``/v1`` says no, beside the root."""

import pytest

from control.api.v1 import spelled
from gateway.kit.problem import Problem, invalid, problem


@pytest.mark.parametrize(
    ("slug", "code"),
    [
        ("invalid-request", "validation_failed"),
        ("too-many-calls", "rate_limited"),
        ("request-entity-too-large", "too_large"),
        ("internal-error", "internal_error"),
        ("csrf-origin-rejected", "csrf_origin_rejected"),
        ("not-found", "not_found"),
    ],
)
def test_codes_are_those_that_its_clients_know(slug: str, code: str) -> None:
    said = problem(400, slug, "T", "d")
    assert spelled(said, "/v1/orgs").code == code
    assert spelled(said, "/organizations") == said


def test_what_is_wrong_is_told_as_issues() -> None:
    told: Problem = spelled(invalid("body/columns/0/name", "is taken").problem(), "/v1/orgs")
    assert told.model_dump()["issues"] == [
        {"code": "custom", "path": ["columns", 0, "name"], "message": "is taken"}
    ]

"""What projects used, by organization and by project."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from control.consumption.rules import window
from control.metering import meters
from control.metering.meters import Reading
from gateway.kit.problem import Invalid
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member, join, refused_fields

NIGHT = datetime(2026, 3, 31, 23, 0, tzinfo=UTC)
GIGABYTE = 10**9


async def project(client: Client) -> UUID:
    response = await client.post("/projects", json={"name": "p", "region": "local"})
    return UUID((await response.json())["data"]["id"])


async def metered(pool: Pool, project_id: UUID) -> UUID:
    """Two units for two hours around midnight, a gigabyte for an hour of March, and bytes of April."""
    endpoint = uuid4()
    await meters.started(pool, project_id, endpoint, 2, NIGHT)
    await meters.stopped(pool, endpoint, NIGHT + timedelta(hours=2))
    later = NIGHT + timedelta(hours=1)
    for meter, quantity, at in (
        ("storage_byte_hours", GIGABYTE, NIGHT),
        ("written_bytes", 7, later),
        ("egress_bytes", 9, later),
    ):
        assert await meters.read(pool, Reading(uuid4(), project_id, meter, quantity, at, endpoint))  # type: ignore[arg-type]
    return endpoint


MARCH_AND_APRIL = {"start_date": "2026-03-31", "end_date": "2026-04-01"}


async def asked(client: Client, path: str, **query: str) -> dict[str, Any]:
    response = await client.get(path, params=query)
    answer = await response.json()
    assert response.status == 200, answer
    return dict(answer["data"])


async def test_nothing_was_used_before_anything_ran(client: Client, member: Member) -> None:
    project_id = await project(client)
    for path in ("/organizations/default/consumption", f"/projects/{project_id}/consumption"):
        data = await asked(client, path)
        assert data["periods"] == []
        assert set(data["current_month"].values()) == {0}
        assert datetime.fromisoformat(data["from"]).day == 1
        assert datetime.fromisoformat(data["to"]) <= datetime.now(UTC)


async def test_an_organization_used_what_its_projects_used_by_month(
    client: Client, pool: Pool, member: Member
) -> None:
    one, other = await project(client), await project(client)
    await metered(pool, one)
    await metered(pool, other)
    whole = await asked(client, "/organizations/default/consumption", **MARCH_AND_APRIL)
    assert [period["period_id"] for period in whole["periods"]] == ["2026-03", "2026-04"]
    march, april = whole["periods"]
    assert (march["active_time_seconds"], march["compute_time_seconds"]) == (7200, 14400)
    # Two gigabytes for one of the 24 hours of the only day of March that was asked for.
    assert march["synthetic_storage_size_bytes"] == 2 * GIGABYTE // 24
    assert (april["written_data_bytes"], april["data_transfer_bytes"]) == (14, 18)
    half = await asked(client, f"/projects/{one}/consumption", **MARCH_AND_APRIL)
    assert half["periods"][0]["active_time_seconds"] == 3600
    assert half["project_id"] == str(one)


async def test_a_foreign_project_is_absent(client: Client, pool: Pool) -> None:
    project_id = await project(client)
    headers = (await join(pool)).headers
    for path in (f"/projects/{project_id}", f"/projects/{uuid4()}", f"/organizations/{uuid4()}"):
        assert (await client.get(f"{path}/consumption", headers=headers)).status == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"start_date": "2026-04-02", "end_date": "2026-04-01"}, "query/start_date"),
        ({"start_date": "0001-01-01"}, "query/end_date"),
        ({"end_date": "9999-12-31"}, "query/end_date"),
        ({"start_date": "1775000000"}, "query/start_date"),
        ({"end_date": "2026-02-30"}, "query/end_date"),
    ],
)
async def test_a_time_that_is_none_is_refused(client: Client, query: dict[str, str], field: str) -> None:
    response = await client.get("/organizations/default/consumption", params=query)
    assert await refused_fields(response) == [field]


def test_a_window_ends_now_or_with_its_last_day() -> None:
    now = datetime(2026, 3, 15, 12, tzinfo=UTC)
    assert window(None, None, now).end == now
    assert window(None, None, now).start == datetime(2026, 3, 1, tzinfo=UTC)
    past = window(None, datetime(2026, 2, 10, tzinfo=UTC).date(), now)
    assert (past.start.day, past.end) == (1, datetime(2026, 2, 11, tzinfo=UTC))
    with pytest.raises(Invalid):
        window(datetime(2026, 4, 1, tzinfo=UTC).date(), None, now)

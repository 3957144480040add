"""The objects that CloudNativePG would be given. None of them was."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from control.computes.cnpg import objects
from control.computes.cnpg.objects import Installation
from control.computes.provider import HEAD, At, ComputeSpec, TimelineSpec

PLACE = Installation(
    "farebox", "ghcr.io/cloudnative-pg/postgresql:18", "10Gi", "s3://history/farebox",
    {"s3Credentials": {"accessKeyId": {"name": "s3", "key": "id"}}}, "fast",
)  # fmt: skip
SPEC = TimelineSpec("shop", retention_seconds=7 * 86_400)
MOMENT = datetime(2026, 11, 22, 8, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=1)))


def test_a_first_timeline_is_a_cluster_with_a_history() -> None:
    store, cluster, schedule = objects.created(PLACE, "main", SPEC)
    assert [one["kind"] for one in (store, cluster, schedule)] == [
        "ObjectStore",
        "Cluster",
        "ScheduledBackup",
    ]
    for one in (store, cluster, schedule):
        assert one["metadata"]["name"] == "tl-main"
        assert one["metadata"]["namespace"] == "farebox"
        assert one["metadata"]["labels"]["farebox/project"] == "shop"
    assert store["spec"] == {
        "configuration": {
            "destinationPath": "s3://history/farebox",
            "s3Credentials": {"accessKeyId": {"name": "s3", "key": "id"}},
        },
        "retentionPolicy": "7d",
    }
    spec = cluster["spec"]
    assert spec["bootstrap"] == {"initdb": {"encoding": "UTF8", "walSegmentSize": 1}}
    assert spec["storage"] == {"size": "10Gi", "storageClass": "fast"}
    assert spec["plugins"] == [
        {
            "name": "barman-cloud.cloudnative-pg.io",
            "isWALArchiver": True,
            "parameters": {"barmanObjectName": "tl-main"},
        }
    ]
    assert "externalClusters" not in spec
    assert schedule["spec"]["cluster"] == {"name": "tl-main"}
    assert schedule["spec"]["immediate"]
    assert len(schedule["spec"]["schedule"].split()) == 6


@pytest.mark.parametrize(
    ("at", "target"),
    [
        (HEAD, None),
        (At(lsn="0/3000060"), {"targetLSN": "0/3000060", "exclusive": True}),
        (At(timestamp=MOMENT), {"targetTime": "2026-11-22T07:00:00.123456+00:00"}),
    ],
)
def test_a_branch_recovers_from_its_parents_history(at: At, target: object) -> None:
    _, cluster, _ = objects.created(PLACE, "child", SPEC, ("main", at))
    recovery = {"source": "parent"} if target is None else {"source": "parent", "recoveryTarget": target}
    assert cluster["spec"]["bootstrap"] == {"recovery": recovery}
    (external,) = cluster["spec"]["externalClusters"]
    assert external["name"] == "parent"
    assert external["plugin"]["parameters"] == {"barmanObjectName": "tl-main", "serverName": "tl-main"}
    # Its own history goes to a place of its own.
    assert cluster["spec"]["plugins"][0]["parameters"] == {"barmanObjectName": "tl-child"}


def test_sleep_is_an_annotation_and_waking_sets_the_limits() -> None:
    asleep = objects.asleep("main")
    assert asleep["metadata"]["annotations"] == {"cnpg.io/hibernation": "on"}
    assert "spec" not in asleep
    awake = objects.awake("main", ComputeSpec(units=Decimal("0.25")))
    assert awake["metadata"]["annotations"] == {"cnpg.io/hibernation": "off"}
    assert awake["spec"]["resources"] == {
        "requests": {"cpu": "250m", "memory": "1024Mi"},
        "limits": {"memory": "1024Mi"},
    }


@pytest.mark.parametrize(
    ("seconds", "kept"), [(0, "1d"), (86_400, "1d"), (86_401, "2d"), (30 * 86_400, "30d")]
)
def test_history_is_kept_at_least_as_long_as_was_asked(seconds: int, kept: str) -> None:
    assert objects.retained("main", seconds)["spec"] == {"retentionPolicy": kept}


def test_what_was_created_is_what_is_deleted() -> None:
    created = objects.created(PLACE, "main", SPEC)
    gone = objects.deleted("main")
    assert {(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in created} == set(gone)

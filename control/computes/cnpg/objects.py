"""Kubernetes objects for a timeline: which ones, and what in them changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, TypeAlias

from control.computes.provider import HEAD, At, ComputeSpec, TimelineSpec

Object: TypeAlias = dict[str, Any]

API = "postgresql.cnpg.io/v1"
STORE_API = "barmancloud.cnpg.io/v1"
PLUGIN = "barman-cloud.cloudnative-pg.io"
HIBERNATION = "cnpg.io/hibernation"

# With seconds first. A base backup a day keeps the way back to any point short.
SCHEDULE = "0 17 3 * * *"

SECONDS_PER_DAY = 86_400
MEBIBYTES_PER_UNIT = 4096
MILLICORES_PER_UNIT = 1000


@dataclass(frozen=True, slots=True)
class Installation:
    """What is the same for all timelines."""

    namespace: str
    image: str
    storage_size: str
    bucket: str
    """``s3://bucket/prefix``: each timeline has a directory there."""
    credentials: Mapping[str, Any]
    """As in ``spec.configuration`` of an ``ObjectStore``: ``s3Credentials``, ``endpointURL``."""
    storage_class: str | None = None


def created(
    installation: Installation, timeline: str, spec: TimelineSpec, source: tuple[str, At] | None = None
) -> list[Object]:
    """In the order in which they are applied."""
    return [
        store(installation, timeline, spec.project, spec.retention_seconds),
        cluster(installation, timeline, spec.project, source),
        schedule(installation, timeline, spec.project),
    ]


def deleted(timeline: str) -> list[tuple[str, str, str]]:
    """The version, kind and name of each, the cluster before the store that it writes to."""
    name = name_of(timeline)
    return [(API, "ScheduledBackup", name), (API, "Cluster", name), (STORE_API, "ObjectStore", name)]


def awake(timeline: str, spec: ComputeSpec) -> Object:
    """A patch of the cluster."""
    quantity = {
        "cpu": f"{int(spec.units * MILLICORES_PER_UNIT)}m",
        "memory": f"{int(spec.units * MEBIBYTES_PER_UNIT)}Mi",
    }
    resources = {"requests": quantity, "limits": {"memory": quantity["memory"]}}
    return patch(timeline, "off") | {"spec": {"resources": resources}}


def asleep(timeline: str) -> Object:
    """A patch of the cluster: its pods go, its volume stays."""
    return patch(timeline, "on")


def retained(timeline: str, seconds: int) -> Object:
    """A patch of the store."""
    head: Object = {"apiVersion": STORE_API, "kind": "ObjectStore", "metadata": {"name": name_of(timeline)}}
    return head | {"spec": {"retentionPolicy": days(seconds)}}


def patch(timeline: str, hibernation: str) -> Object:
    metadata = {"name": name_of(timeline), "annotations": {HIBERNATION: hibernation}}
    return {"apiVersion": API, "kind": "Cluster", "metadata": metadata}


def cluster(installation: Installation, timeline: str, project: str, source: tuple[str, At] | None) -> Object:
    storage = {"size": installation.storage_size}
    if installation.storage_class is not None:
        storage["storageClass"] = installation.storage_class
    spec: Object = {
        "instances": 1,
        "imageName": installation.image,
        "storage": storage,
        # For ``admin``: roles and databases are SQL above the interface.
        "enableSuperuserAccess": True,
        "postgresql": {"parameters": {"max_slot_wal_keep_size": "1GB"}},
        "plugins": [
            {"name": PLUGIN, "isWALArchiver": True, "parameters": {"barmanObjectName": name_of(timeline)}}
        ],
    }
    if source is None:
        spec["bootstrap"] = {"initdb": {"encoding": "UTF8", "walSegmentSize": 1}}
    else:
        spec |= recovered(*source)
    head = about(installation, "Cluster", API, timeline, project)
    # It has to run to be made; whoever asked for it puts it to sleep then.
    head["metadata"]["annotations"] = {HIBERNATION: "off"}
    return head | {"spec": spec}


def recovered(parent: str, at: At) -> Object:
    recovery: Object = {"source": "parent"}
    if at != HEAD:
        recovery["recoveryTarget"] = target(at)
    name = name_of(parent)
    plugin = {"name": PLUGIN, "parameters": {"barmanObjectName": name, "serverName": name}}
    return {
        "bootstrap": {"recovery": recovery},
        "externalClusters": [{"name": "parent", "plugin": plugin}],
    }


def target(at: At) -> Object:
    if at.lsn is not None:
        # As everywhere: the record that begins there is not replayed.
        return {"targetLSN": at.lsn, "exclusive": True}
    assert at.timestamp is not None
    return {"targetTime": at.timestamp.astimezone(UTC).isoformat()}


def store(installation: Installation, timeline: str, project: str, retention_seconds: int) -> Object:
    configuration = {"destinationPath": installation.bucket, **installation.credentials}
    spec = {"configuration": configuration, "retentionPolicy": days(retention_seconds)}
    return about(installation, "ObjectStore", STORE_API, timeline, project) | {"spec": spec}


def schedule(installation: Installation, timeline: str, project: str) -> Object:
    spec = {
        "schedule": SCHEDULE,
        # At once too: without a backup there is no way back to any point.
        "immediate": True,
        "backupOwnerReference": "self",
        "cluster": {"name": name_of(timeline)},
        "method": "plugin",
        "pluginConfiguration": {"name": PLUGIN},
    }
    return about(installation, "ScheduledBackup", API, timeline, project) | {"spec": spec}


def about(installation: Installation, kind: str, version: str, timeline: str, project: str) -> Object:
    metadata: Object = {
        "name": name_of(timeline),
        "namespace": installation.namespace,
        "labels": {"app.kubernetes.io/managed-by": "farebox", "farebox/project": project},
    }
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def name_of(timeline: str) -> str:
    """Kubernetes wants a letter first; a timeline's id is a UUID."""
    return f"tl-{timeline}"


def days(seconds: int) -> str:
    """Rounded up: what was promised is there."""
    return f"{max(1, -(-seconds // SECONDS_PER_DAY))}d"

"""What any engine that runs projects' databases offers, and the values it exchanges."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from gateway.kit.problem import Refusal
from gateway.kit.sql import Connection

LSN = re.compile(r"^[0-9A-F]{1,8}/[0-9A-F]{1,8}$")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do. Whoever is asked for what it cannot raises ``Unsupported`` with the name."""

    past_lsn: bool
    past_timestamp: bool
    instant_copy: bool
    """Copies share their blocks, so that a branch takes no longer for a large database."""
    suspend: bool
    archive: bool
    logical: bool
    ro_replicas: bool
    autoscale: bool
    resolve: bool
    """Tells which LSN a time is, and the other way around."""


class Unsupported(Refusal):
    status, slug, title = 501, "compute-capability-missing", "Not offered by this compute provider"

    def __init__(self, capability: str) -> None:
        super().__init__(f"the compute provider of this installation does not offer {capability}")
        self.capability = capability


class OutsideWindow(Refusal):
    status, slug, title = 409, "outside-history-window", "Before the history that is kept"


class BeyondHistory(Refusal):
    status, slug, title = 400, "beyond-history", "After the end of the history"


class TimelineUnknown(Refusal):
    status, slug, title = 404, "timeline-unknown", "There is no such data"


class TimelineBusy(Refusal):
    status, slug, title = 409, "timeline-busy", "In use by a running endpoint"


class SlotsLeft(Refusal):
    """A server whose log is not written for decoding does not start while somebody means to decode it."""

    status, slug, title = 409, "replication-slots-left", "Replication slots are left"

    def __init__(self, slots: Sequence[str]) -> None:
        super().__init__(f"drop these replication slots before logical replication ends: {', '.join(slots)}")
        self.slots = tuple(slots)


class DiskFull(Refusal):
    status, slug, title = 507, "disk-limit-reached", "The project takes more of the disk than it may"


class ComputeUnavailable(Refusal):
    """The text is for the operator's log as well: it names no path."""

    status, slug, title = 503, "compute-unavailable", "The database did not start"
    headers: Mapping[str, str] = {"Retry-After": "2"}


REFUSALS = (
    Unsupported,
    SlotsLeft,
    DiskFull,
    OutsideWindow,
    BeyondHistory,
    TimelineUnknown,
    TimelineBusy,
    ComputeUnavailable,
)
"""All that a provider refuses with, so that they find their way back from another process."""


@dataclass(frozen=True, slots=True)
class At:
    """A point in a timeline's history; neither of the two is its head."""

    lsn: str | None = None
    timestamp: datetime | None = None

    def __post_init__(self) -> None:
        assert self.lsn is None or self.timestamp is None
        assert self.lsn is None or LSN.match(self.lsn), "an LSN is two hexadecimal numbers with a slash"
        assert self.timestamp is None or self.timestamp.tzinfo is not None


HEAD = At()


@dataclass(frozen=True, slots=True)
class Resolved:
    """A point of a history, by LSN and by time."""

    kind: Literal["present", "future", "past", "nodata"]
    """After the last commit is the future, before the window the past; without a commit there is no data."""
    lsn: str | None
    timestamp: datetime | None


@dataclass(frozen=True, slots=True)
class TimelineSpec:
    project: str
    """Timelines of one project share a user of the operating system, and no others do."""
    retention_seconds: int = 86_400


@dataclass(frozen=True, slots=True)
class TimelineInfo:
    id: str
    project: str
    parent: str | None
    parent_lsn: str | None
    """Where the parent's history ends and its own begins."""
    created_at: datetime
    horizon_lsn: str
    """The oldest point that a branch can be made of."""
    horizon_at: datetime
    head_lsn: str
    bytes: int
    history_bytes: int
    is_archived: bool


@dataclass(frozen=True, slots=True)
class ComputeSpec:
    units: Decimal = Decimal("0.25")
    """A CPU and some memory in the references; here it sets the limits of a server."""
    suspend_seconds: int = 300
    """0 never falls asleep."""
    is_read_only: bool = False
    is_logical: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    sockets: Path
    """The directory of the Unix socket, on the machine of whoever asks."""
    port: int = 5432
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What every session must start with: the proxy sends it, and refuses a client's own value."""

    @property
    def socket(self) -> Path:
        return self.sockets / f".s.PGSQL.{self.port}"


class State(StrEnum):
    IDLE = "idle"
    STARTING = "starting"
    ACTIVE = "active"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class ComputeState:
    state: State
    timeline: str | None = None
    since: datetime | None = None
    why_active: tuple[str, ...] = ()
    """Sentences, empty when it may fall asleep."""
    sessions: int = 0
    """Who is connected through a proxy, over all endpoints that share the server."""
    sent_bytes: int = 0
    received_bytes: int = 0
    """What proxies moved for this endpoint since ``since``: to its clients, and from them."""


Kind: TypeAlias = Literal["ready", "suspended", "stopped", "exited", "failed", "full", "roomy"]
"""The last two are about the disk: its limit was reached, or there is room again."""


@dataclass(frozen=True, slots=True)
class ComputeEvent:
    kind: Kind
    timeline: str
    endpoints: frozenset[str]
    at: datetime
    moved: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Bytes to and from clients, by endpoint, since it was ready."""
    id: str = ""
    """Whoever read so far goes on from here."""
    since: datetime | None = None
    """When the server was ready whose bytes they are: the state has the same while it runs."""
    verifiers: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    """Of roles whose passwords were changed while it ran, when it falls asleep."""


StopMode = Literal["fast", "immediate"]


class ComputeProvider(Protocol):
    """Ids are the caller's, calls may be repeated with them, and what a call returned from is durable."""

    async def capabilities(self) -> Capabilities: ...

    async def create_timeline(
        self, timeline: str, spec: TimelineSpec, source: tuple[str, At] | None = None
    ) -> TimelineInfo:
        """An empty database, or what another timeline was at a point."""
        ...

    async def delete_timeline(self, timeline: str) -> None: ...
    async def archive(self, timeline: str) -> None: ...
    async def unarchive(self, timeline: str) -> None: ...

    async def stat(self, timeline: str) -> TimelineInfo:
        """Wakes nothing."""
        ...

    async def set_retention(self, timeline: str, seconds: int) -> None: ...

    async def resolve(self, timeline: str, at: At) -> Resolved:
        """Of a time, the LSN where the first commit after it begins; of an LSN, when the last one before it
        was committed. Wakes nothing."""
        ...

    async def reach(self, timeline: str, at: At) -> Resolved:
        """Whether the history that is kept has a point, and where it begins or ends if it has not. Quick, and
        wakes nothing: nobody looks into the history. A time is never of the future."""
        ...

    async def start(self, endpoint: str, timeline: str, spec: ComputeSpec) -> Address:
        """Returns when it accepts connections. Many at once start one server."""
        ...

    async def stop(self, endpoint: str, mode: StopMode = "fast") -> None: ...
    async def restart(self, endpoint: str, spec: ComputeSpec) -> Address: ...
    async def status(self, endpoint: str) -> ComputeState: ...

    def session(self, endpoint: str) -> AbstractAsyncContextManager[None]:
        """While it is entered somebody is connected through a proxy."""
        ...

    async def slots(self, timeline: str) -> tuple[str, ...]:
        """The logical replication slots there are. Wakes nothing."""
        ...

    async def limit_disk(self, project: str, size: int | None) -> None:
        """How many bytes its timelines may take together, with all of their history; None is as many as fit.

        Looked at twice a minute. At the limit sessions only read unless they say otherwise and nothing is
        branched; a quarter beyond it servers are stopped and do not start.
        """
        ...

    def traffic(self, endpoint: str, sent: int = 0, received: int = 0) -> None:
        """A proxy moved bytes for the endpoint just now. It is cheap: say so as often as you like."""
        ...

    def events(self, after: str | None = None) -> AsyncIterator[ComputeEvent]:
        """Endless: those after the one with this id, or all that are kept."""
        ...

    async def admin(self, endpoint: str, database: str = "postgres") -> Connection:
        """A superuser's connection: roles, databases and publications are SQL above this line.

        It finds the server's own names only. Whatever else is named needs its schema, and a tenant's views,
        functions and tables are not for it: what they call would run as superuser.
        """
        ...

"""What a timeline is, read from its files."""

from datetime import datetime

from control.computes import bases
from control.computes.files import Store
from control.computes.provider import TimelineInfo


def describe(store: Store, timeline: str, head: str | None) -> TimelineInfo:
    place = store.place(timeline)
    record, oldest = place.record(), bases.all_of(place)[0]
    if head is None:
        head = place.head(store.programs)
    return TimelineInfo(
        record.id, record.project, record.parent, record.parent_lsn,
        datetime.fromisoformat(record.created_at), oldest.lsn, oldest.at, head,
        bases.tree_bytes(place.tar if place.is_archived else place.data),
        bases.tree_bytes(place.bases) + bases.tree_bytes(place.wal),
        place.is_archived,
    )  # fmt: skip

"""How much of the disk a project may take, and what happens when it takes more.

At its limit the sessions of a project only read unless they say otherwise, so that they can delete, and no
branch is made of it. Whoever says otherwise and goes on writing is stopped, and starts with a higher limit.
"""

import json
from dataclasses import dataclass
from enum import IntEnum

from control.computes import bases, copying
from control.computes.files import Place, Store

GRACE_SHARE = 4
GRACE_BYTES_MIN = 64 << 20
WAY_OUT = "choose a larger plan, or purge deleted projects, which count as well"


class Fill(IntEnum):
    FREE = 0
    FULL = 1
    OVER = 2


@dataclass(frozen=True, slots=True)
class Usage:
    bytes: int
    limit: int

    @property
    def fill(self) -> Fill:
        if self.bytes < self.limit:
            return Fill.FREE
        grace = max(self.limit // GRACE_SHARE, GRACE_BYTES_MIN)
        return Fill.FULL if self.bytes < self.limit + grace else Fill.OVER


def limits(store: Store) -> dict[str, int]:
    path = store.root / "limits.json"
    found: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    return found


def limit(store: Store, project: str, size: int | None) -> None:
    chosen = limits(store)
    if chosen.get(project) == size:
        return
    if size is None:
        chosen.pop(project, None)
    else:
        chosen[project] = size
    copying.write_whole(store.root / "limits.json", json.dumps(chosen))


def look(store: Store) -> dict[str, Usage]:
    """Of the projects that have a limit; of others nobody asks."""
    chosen = limits(store)
    taken = dict.fromkeys(chosen, 0)
    for place in map(store.place, store.timelines()) if chosen else ():
        project = project_of(place)
        if project in taken:
            taken[project] += bases.tree_bytes(place.root)
    return {project: Usage(taken[project], size) for project, size in chosen.items()}


def project_of(place: Place) -> str | None:
    path = place.root / "timeline.json"
    # Deleted since it was listed.
    return place.record().project if path.exists() else None


def fill_of(usages: dict[str, Usage], project: str) -> Fill:
    found = usages.get(project)
    return Fill.FREE if found is None else found.fill

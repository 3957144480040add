"""Rules about the shape of rooms, so that no reviewer has to remember them."""

import tomllib
from pathlib import Path

import pytest

from control.api.operation import Room
from control.rooms import ROOMS

ROOT = Path(__file__).parents[2]
PACKAGES = [path.parent for path in sorted(ROOT.glob("control/*/routes.py"))]
NAMES = [package.name for package in PACKAGES]


@pytest.mark.parametrize("package", PACKAGES, ids=NAMES)
def test_room_is_whole(package: Path) -> None:
    files = {path.name for path in package.iterdir() if path.suffix in {".py", ".sql"}}
    assert {"__init__.py", "routes.py", "models.py"} <= files
    # A room without rows of its own has no store; one with a store has both halves of it.
    assert ("store.py" in files) == ("store.sql" in files)
    assert {name for name in files if name.endswith(".sql")} <= {"store.sql"}
    assert (ROOT / "tests" / "control" / f"test_{package.name}.py").exists()


@pytest.mark.parametrize("package", PACKAGES, ids=NAMES)
def test_only_routes_speak_http(package: Path) -> None:
    modules = [path for path in package.glob("*.py") if path.name != "routes.py"]
    assert [path.name for path in modules if "Room(" in path.read_text()] == []
    assert [path.name for path in package.glob("*.py") if "aiohttp" in path.read_text()] == []


# Organizations have roles too, and processes: `control/roles` is what each of those does.
OTHER_NOUNS = {"database_roles": "roles"}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_room_is_found_by_the_noun_in_its_url(room: Room) -> None:
    assert room.prefix.rpartition("/")[2] == OTHER_NOUNS.get(room.name, room.name).replace("_", "-")


def test_every_room_is_listed() -> None:
    assert [room.name for room in ROOMS] == NAMES


def test_every_room_is_independent() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    independent = next(one["modules"] for one in contracts if one["name"] == "rooms do not import rooms")
    assert independent == [f"control.{name}" for name in NAMES]


@pytest.mark.parametrize(
    "path",
    [
        path
        for top in ("config", "control", "gateway", "plugins")
        for path in sorted(ROOT.glob(f"{top}/**/*.py"))
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_file_is_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]
PACKAGES = ("config", "control", "gateway", "plugins")
KINDS = ("*.sql", "*.toml", "*.json", "*.lua", "*.vy", "*.html", "*.yml")


def test_the_wheel_carries_what_the_code_reads(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(tmp_path)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (wheel,) = tmp_path.glob("dist/*.whl")
    read = [path for package in PACKAGES for kind in KINDS for path in (ROOT / package).rglob(kind)]
    expected = {str(path.relative_to(ROOT)) for path in read}
    assert {"control/openapi.json", "control/api/docs.html", "config/default.toml"} <= expected
    assert expected <= set(ZipFile(wheel).namelist())

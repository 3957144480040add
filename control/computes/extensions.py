"""Extensions that a tenant may install for itself, though their makers left that to superusers."""

import re
import shutil
from pathlib import Path

from control.embedded import binaries

# What they add is types, index methods and triggers: nothing that reads files, connects, or looks into pages.
TRUSTED = ("bloom", "moddatetime", "vector")

MARK = re.compile(r"^\s*trusted\s*=", re.MULTILINE)


def lay_out(root: Path, programs: Path, version: str) -> Path:
    """A directory for ``extension_control_path``, made once for each version of the server."""
    target = root / f"extensions-{version}"
    if not target.is_dir():
        partial = target.with_name(target.name + ".new")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "extension").mkdir(parents=True)
        for name in TRUSTED:
            copy(shipped(programs), name, partial / "extension")
        for path in (partial, *partial.rglob("*")):
            binaries.open_to_all(path)
        partial.rename(target)
    return target


def shipped(programs: Path) -> Path:
    """Where the server's own ones are: distributions have a directory more."""
    share = programs.parent / "share"
    return next(share.glob("**/extension"), share / "extension")


def copy(source: Path, name: str, target: Path) -> None:
    control = source / f"{name}.control"
    if not control.is_file():
        return
    text = control.read_text()
    assert not MARK.search(text), f"{name} is trusted as it comes"
    (target / control.name).write_text(f"{text.rstrip()}\ntrusted = true\n")
    # Scripts are looked for beside the control file.
    for script in source.glob(f"{name}--*.sql"):
        shutil.copyfile(script, target / script.name)

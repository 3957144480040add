"""Programs from wheels: which version they are, and copies where the wheel lies out of a server's reach."""

import os
import re
import shutil
from pathlib import Path

from control.embedded import processes
from control.embedded.processes import Command, StartFailed

# Nothing of ours: a database has no use for our settings, which hold keys.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}

VERSION = re.compile(r"\b\d+(?:\.\d+)+")


async def version(program: Path) -> str:
    """``18.6``, from the program's own mouth, which proves that it runs on this machine."""
    output: list[str] = []
    command = Command(program.name, (str(program), "--version"), ENVIRONMENT, Path("/"))
    async with processes.running(command, output.append) as process:
        await process.exited.wait()
    match = VERSION.search(" ".join(output))
    if match is None:
        raise StartFailed(f"{program} does not run on this machine: {' '.join(output) or process.ending}")
    return match[0]


def copy_tree(bin_dir: Path, target: Path) -> Path:
    """Copy an installation, for everybody to read, and return the copy's directory of programs."""
    installed = bin_dir.parent
    # A wheel's programs find its libraries by the way from one to the other, so that is kept.
    package = installed.parent
    libraries = package.with_name(f"{package.name}.libs")
    if not target.is_dir():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.new")
        shutil.rmtree(partial, ignore_errors=True)
        ignored = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(installed, partial / package.name / installed.name, ignore=ignored)
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name)
        for path in (partial, *partial.rglob("*")):
            open_to_all(path)
        partial.rename(target)
    return target / package.name / installed.name / bin_dir.name


def copy_file(program: Path, target: Path) -> Path:
    if not target.is_file():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".new")
        shutil.copyfile(program, partial)
        partial.chmod(0o755)
        partial.rename(target)
    return target


def open_to_all(path: Path) -> None:
    if not path.is_symlink():
        is_program = path.is_dir() or os.access(path, os.X_OK)
        path.chmod(0o755 if is_program else 0o644)

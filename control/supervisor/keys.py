"""The encryption keys: those in the settings, or one made at the first start and kept with the data."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from gateway.kit import crypto

log = logging.getLogger(__name__)

NAME = "secrets.key"


def find(chosen: Sequence[SecretStr], data: Path) -> list[str]:
    """Newest first. Raises ``ValueError`` for keys that are none."""
    if chosen:
        keys = [key.get_secret_value() for key in chosen]
    else:
        keys = stored(data / NAME) or [make(data / NAME)]
    crypto.Keyring.parse(keys)
    return keys


def stored(path: Path) -> list[str]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [line.strip() for line in lines if line.strip()]


def make(path: Path) -> str:
    key = crypto.new_key("default")
    partial = path.with_name(path.name + ".new")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    # A key that a power cut takes away leaves credentials that nobody can read.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    log.warning("made an encryption key in %s: keep a copy apart from the data", path)
    return key

"""What may be an avatar."""

import base64
import binascii
import re

FORM = re.compile(r"data:image/(png|jpeg|webp);base64,([A-Za-z0-9+/]+={0,2})", re.ASCII)
BYTES_MAX = 256 * 1024
# By their first bytes: what is shown as an image has to be one.
MAGIC = {"png": (b"\x89PNG\r\n\x1a\n", 0), "jpeg": (b"\xff\xd8\xff", 0), "webp": (b"WEBP", 8)}


def image(data_uri: str) -> bytes | None:
    """Return the image in a data: URL; None when there is none of a kind that is taken."""
    match = FORM.fullmatch(data_uri)
    if match is None:
        return None
    try:
        content = base64.b64decode(match[2], validate=True)
    except binascii.Error:
        return None
    magic, at = MAGIC[match[1]]
    return content if content[at:].startswith(magic) else None

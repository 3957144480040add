"""What an uploaded logo may be: an image of the type it says, small enough for a page that shows many."""

import base64
import binascii
import re
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from gateway.kit.problem import invalid


class LogoUpload(BaseModel, extra="forbid"):
    logo: Annotated[str, Field(max_length=720_000, description="The image in base64, up to 512 KiB.")]
    content_type: Literal["image/png", "image/jpeg", "image/webp", "image/svg+xml"]


class LogoUploaded(BaseModel):
    message: str
    logo_url: str


BYTES_MAX = 512 * 1024
SIGNATURES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    # Nothing that repeats a choice: it would take forever over an image made for that.
    "image/svg+xml": re.compile(rb"(?=.*<svg[\s>])(?:\xef\xbb\xbf)?\s*<", re.DOTALL),
}
# An SVG is a document and could run scripts: opened by itself it may neither do that nor load anything.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "Cache-Control": "public, max-age=300",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def content_of(upload: LogoUpload) -> bytes:
    try:
        content = base64.b64decode(upload.logo, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("body/logo", "is not base64") from None
    if not 0 < len(content) <= BYTES_MAX:
        raise invalid("body/logo", f"is not 1 to {BYTES_MAX} bytes")
    # Only the start: what follows it is for a browser to read, in a sandbox.
    if SIGNATURES[upload.content_type].match(content[:4096]) is None:
        raise invalid("body/logo", f"does not look like {upload.content_type}")
    return content

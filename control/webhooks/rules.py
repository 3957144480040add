"""When a delivery is tried again, and what is sent: decided without a database or a network."""

import base64
import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from uuid import UUID

from standardwebhooks import Webhook as Signer

# After the first attempt, the second and so on: eight attempts over 27 and a half hours.
DELAYS: Final = tuple(
    map(
        lambda seconds: timedelta(seconds=seconds),
        (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600),
    )
)
ATTEMPTS_MAX: Final = len(DELAYS) + 1
JITTER: Final = 0.1
# Longer than this a receiver does not put us off.
RETRY_AFTER_MAX: Final = timedelta(hours=10)
# When no attempt has succeeded for so long, the next delivery that runs out of attempts disables the webhook.
FAILING_MAX: Final = timedelta(days=5)
GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Event:
    id: UUID
    type: str
    organization_id: UUID
    created_at: datetime
    payload: Mapping[str, Any]


def delay_after(attempt: int, retry_after: str | None, now: datetime) -> timedelta | None:
    """How long to wait after attempt number ``attempt`` failed; None when it was the last."""
    if attempt >= ATTEMPTS_MAX:
        return None
    # Spread out, so that what failed together does not come back together.
    planned = DELAYS[attempt - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - not a secret
    return max(planned, min(asked_for(retry_after, now), RETRY_AFTER_MAX))


def asked_for(retry_after: str | None, now: datetime) -> timedelta:
    """RFC 9110 section 10.2.3: seconds or a date. Anything else asks for nothing."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return timedelta(seconds=int(text))
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return timedelta()
    # "-0000" says that the date is UTC without saying where it is from.
    return max(timedelta(), (until if until.tzinfo else until.replace(tzinfo=UTC)) - now)


def is_success(status: int | None) -> bool:
    return status is not None and 200 <= status < 300


def envelope(event: Event) -> dict[str, Any]:
    """What a receiver is sent, and what the API shows of it."""
    return {
        "id": str(event.id),
        "type": event.type,
        "timestamp": event.created_at.isoformat(),
        "organization_id": str(event.organization_id),
        "data": dict(event.payload),
    }


def body_of(event: Event) -> bytes:
    """The same bytes at every attempt."""
    return json.dumps(envelope(event), separators=(",", ":"), ensure_ascii=False).encode()


def headers_of(event_id: UUID, body: bytes, signing: Sequence[str], at: datetime) -> dict[str, str]:
    """Standard Webhooks. The id is the event's: the same at every attempt, replays included."""
    signatures = [Signer(secret).sign(str(event_id), at, body.decode()) for secret in signing]
    return {
        "Content-Type": "application/json",
        "User-Agent": "Farebox-Webhooks/1",
        "webhook-id": str(event_id),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()

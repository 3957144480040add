"""The one place where invitations leave for the mail."""

from collections.abc import Mapping

import structlog

from gateway.kit.sql import Db

log = structlog.get_logger(__name__)


async def queue(db: Db, to: str, template: str, values: Mapping[str, str]) -> None:
    """In the transaction that causes the mail. ``values`` have a link that must not be logged."""
    log.info("mail.queued", template=template)

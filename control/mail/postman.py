"""Send what is in the outbox, in the process of the background jobs.

A letter is claimed before it is sent and marked after the server has taken it. A process that dies between
the two leaves a letter that is sent again: its Message-ID is the same, by which mail programs know it.
"""

import asyncio
import ssl
from datetime import timedelta
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import aiosmtplib
import structlog

from config.settings import Mail
from control.mail import outbox
from control.mail.outbox import Claimed
from gateway.kit.sql import Pool
from gateway.metering import metrics

log = structlog.get_logger(__name__)

BATCH = 10
POLL_SECONDS = 2
TIMEOUT_SECONDS = 30
# Longer than all of a batch can take, so that nobody claims what is being sent.
LEASE = timedelta(seconds=BATCH * TIMEOUT_SECONDS * 2)
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=1)
ERROR_LENGTH_MAX = 500


async def deliver_forever(pool: Pool, mail: Mail, tls: ssl.SSLContext) -> None:
    if mail.host is None:
        log.warning("mail.unconfigured", detail="set FAREBOX_MAIL__HOST; until then see: farebox outbox")
        return
    while True:
        try:
            count = await deliver(pool, mail, tls)
        except Exception:
            # The database is away, say; the next turn comes in a moment.
            log.exception("mail.failed")
            count = 0
        if count < BATCH:
            await asyncio.sleep(POLL_SECONDS)


async def deliver(pool: Pool, mail: Mail, tls: ssl.SSLContext) -> int:
    """Try what is due and return how many there were."""
    claimed = await outbox.claim(pool, BATCH, LEASE)
    for letter in claimed:
        try:
            message = written(letter, mail.sender)
        except Exception as error:
            # The standard library stumbles over odd texts in many ways, and the others must not wait for one.
            log.exception("mail.unwritable", mail_id=str(letter.id))
            await outbox.give_up(pool, letter.id, f"{type(error).__name__}: it cannot be written as mail")
            continue
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await send(mail, tls, message, letter.recipient)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            await put_back(pool, letter, error)
        else:
            await outbox.sent(pool, letter.id)
            metrics.MAILS.labels("sent").inc()
            log.info("mail.sent", mail_id=str(letter.id))
    return len(claimed)


async def put_back(pool: Pool, letter: Claimed, error: Exception) -> None:
    reason = f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX]
    if is_final(error):
        log.warning("mail.refused", mail_id=str(letter.id), reason=reason)
        await outbox.give_up(pool, letter.id, reason)
        metrics.MAILS.labels("refused").inc()
        return
    wait = min(FIRST_WAIT * 2 ** min(letter.attempts - 1, 10), LONGEST_WAIT)
    log.warning("mail.postponed", mail_id=str(letter.id), reason=reason, wait_seconds=wait.total_seconds())
    await outbox.postpone(pool, letter.id, wait, reason)
    metrics.MAILS.labels("postponed").inc()


def is_final(error: Exception) -> bool:
    """Whether the server said that it will never take this letter (RFC 5321, section 4.2.1)."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(one.code >= 500 for one in error.recipients)
    is_about_the_letter = isinstance(error, aiosmtplib.SMTPDataError | aiosmtplib.SMTPRecipientRefused)
    return is_about_the_letter and isinstance(error, aiosmtplib.SMTPResponseException) and error.code >= 500


async def send(mail: Mail, tls: ssl.SSLContext, message: EmailMessage, recipient: str) -> None:
    await aiosmtplib.send(
        message,
        # Not whatever can be read from the headers.
        recipients=[recipient],
        hostname=mail.host,
        port=mail.port,
        username=mail.username,
        password=mail.password.get_secret_value() if mail.password else None,
        use_tls=mail.encryption == "tls",
        # Never taken up on offer only: an attacker between us and the server would not offer it.
        start_tls=mail.encryption == "starttls",
        tls_context=tls,
        timeout=TIMEOUT_SECONDS,
    )


def written(letter: Claimed, sender: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = letter.recipient
    message["Subject"] = as_subject(letter.subject)
    message["Date"] = format_datetime(letter.created_at)
    message["Message-ID"] = f"<{letter.id}@{parseaddr(sender)[1].rpartition('@')[2] or 'localhost'}>"
    # So that no holiday notice answers it (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.body_text)
    message.add_alternative(letter.body_html, subtype="html")
    return message


def as_subject(text: str) -> str:
    """Names in it are what strangers typed.

    ``email`` decodes what looks like an encoded word (RFC 2047), and a line break that was hidden in one ends
    the header: what follows would be a header of the stranger's own. Characters that break lines it refuses.
    """
    return " ".join(text.split()).replace("=?", "= ?")


def context(mail: Mail) -> ssl.SSLContext:
    """Made at the start, so that an authority that cannot be read is said then."""
    return ssl.create_default_context(cafile=str(mail.ca_file) if mail.ca_file else None)

"""The outbox, and sending from it to a real SMTP server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from config.settings import Mail
from control.mail import outbox, postman
from control.mail.letters import Letter
from gateway.kit.sql import Pool

LETTER = Letter(
    "Hällo",
    "Hello <Ada>,",
    "this & that:",
    "Bye.",
    "Click",
    "https://gateway.example/auth/link#verify=a&then=b",
)
DAY = timedelta(days=1)


@dataclass
class Mailbox:
    """An SMTP server that keeps what it is sent, and answers as a test says."""

    received: list[EmailMessage] = field(default_factory=list)
    recipient_answer: str = "250 OK"
    data_answer: str = "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.recipient_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient_answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.data_answer.startswith("250"):
            message = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.received.append(message)
        return self.data_answer


@asynccontextmanager
async def serving(mailbox: Mailbox, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, hostname="localhost", loop=loop, **options), "127.0.0.1", 0, ssl=tls
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def plain(port: int) -> Mail:
    return Mail(host="127.0.0.1", port=port, encryption="none", sender="Farebox <pay@gateway.example>")


async def deliver(pool: Pool, mail: Mail) -> int:
    return await postman.deliver(pool, mail, postman.context(mail))


async def state(pool: Pool) -> tuple[int, bool, bool, str | None]:
    row = await pool.fetchrow("SELECT attempts, sent_at, failed_at, last_error FROM outbox")
    assert row is not None
    return row["attempts"], row["sent_at"] is not None, row["failed_at"] is not None, row["last_error"]


async def test_a_letter_has_a_text_and_an_html_part(pool: Pool) -> None:
    mailbox = Mailbox()
    letter_id = await outbox.post(pool, "ada@example.com", LETTER, DAY)
    async with serving(mailbox) as port:
        assert await deliver(pool, plain(port)) == 1
        assert await deliver(pool, plain(port)) == 0
    (message,) = mailbox.received
    assert (message["To"], message["From"], message["Subject"]) == (
        "ada@example.com",
        "Farebox <pay@gateway.example>",
        "Hällo",
    )
    assert message["Message-ID"] == f"<{letter_id}@gateway.example>"
    text, html = message.get_body(["plain"]), message.get_body(["html"])
    assert text is not None
    assert html is not None
    assert LETTER.url in text.get_content()
    assert "Hello &lt;Ada&gt;" in html.get_content()
    assert 'href="https://gateway.example/auth/link#verify=a&amp;then=b"' in html.get_content()
    # The link is not kept once it is sent.
    assert await pool.fetchval("SELECT body_text || body_html FROM outbox") == ""
    assert await state(pool) == (1, True, False, None)


async def test_two_processes_send_each_letter_once(pool: Pool) -> None:
    mailbox = Mailbox()
    for number in range(25):
        await outbox.post(pool, f"a{number}@example.com", LETTER, DAY)
    async with serving(mailbox) as port:
        while any(await asyncio.gather(*(deliver(pool, plain(port)) for _ in range(4)))):
            pass
    assert sorted(one["To"] for one in mailbox.received) == sorted(
        f"a{number}@example.com" for number in range(25)
    )


async def test_a_server_that_is_away_is_tried_again_later(pool: Pool) -> None:
    mailbox = Mailbox(data_answer="451 later")
    await outbox.post(pool, "ada@example.com", LETTER, DAY)
    async with serving(mailbox) as port:
        assert await deliver(pool, plain(port)) == 1
        assert await deliver(pool, plain(port)) == 0
        attempts, is_sent, is_failed, error = await state(pool)
        assert (attempts, is_sent, is_failed) == (1, False, False)
        assert "451" in str(error)
        wait = await pool.fetchval("SELECT due_at - now() FROM outbox")
        assert timedelta(seconds=20) < wait < timedelta(seconds=40)
        mailbox.data_answer = "250 OK"
        await pool.execute("UPDATE outbox SET due_at = now()")
        await deliver(pool, plain(port))
    assert len(mailbox.received) == 1
    await outbox.post(pool, "ada@example.com", LETTER, DAY)
    assert await deliver(pool, plain(1)) == 1
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL AND failed_at IS NULL") == 1


@pytest.mark.parametrize(
    "mailbox", [Mailbox(recipient_answer="550 no such user"), Mailbox(data_answer="554 no")]
)
async def test_a_letter_that_is_refused_for_good_is_not_sent_again(pool: Pool, mailbox: Mailbox) -> None:
    await outbox.post(pool, "ada@example.com", LETTER, DAY)
    async with serving(mailbox) as port:
        await deliver(pool, plain(port))
    attempts, is_sent, is_failed, error = await state(pool)
    assert (attempts, is_sent, is_failed) == (1, False, True)
    assert error


async def test_what_a_dead_process_claimed_is_sent_when_its_lease_is_over(pool: Pool) -> None:
    mailbox = Mailbox()
    await outbox.post(pool, "ada@example.com", LETTER, DAY)
    assert len(await outbox.claim(pool, 10, postman.LEASE)) == 1
    async with serving(mailbox) as port:
        assert await deliver(pool, plain(port)) == 0
        await pool.execute("UPDATE outbox SET due_at = now()")
        assert await deliver(pool, plain(port)) == 1
    assert len(mailbox.received) == 1


async def test_a_letter_that_is_of_no_use_any_more_is_not_sent(pool: Pool) -> None:
    await outbox.post(pool, "ada@example.com", LETTER, timedelta(0))
    assert await deliver(pool, plain(1)) == 0
    await outbox.prune(pool)
    assert (await state(pool))[2]


async def test_a_decoy_is_never_sent_or_shown(pool: Pool) -> None:
    letter_id = await outbox.post(pool, "nobody@example.com", LETTER, DAY, is_decoy=True)
    assert await deliver(pool, plain(1)) == 0
    assert await outbox.waiting(pool, with_sent=True) == []
    assert await outbox.find(pool, letter_id) is None


@pytest.fixture
def authority(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    own = trustme.CA()
    own.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.issue_cert("127.0.0.1").configure_cert(server)
    return server, tmp_path / "ca.pem"


def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    # Said to be handled, a refusal would not be answered, and the client wait for it.
    is_right = (data.login, data.password) == (b"farebox", b"secret")
    return AuthResult(success=is_right, handled=False)


# It does not see that the whole connection is TLS.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize(
    ("encryption", "is_trusted", "password", "is_received"),
    [
        ("starttls", True, "secret", True),
        ("tls", True, "secret", True),
        ("starttls", False, "secret", False),
        ("tls", False, "secret", False),
        ("starttls", True, "wrong", False),
    ],
)
async def test_mail_goes_over_tls_to_a_server_that_proves_itself(
    pool: Pool, authority: tuple[ssl.SSLContext, Path], encryption: str, is_trusted: bool, password: str,
    is_received: bool,
) -> None:  # fmt: skip
    mailbox = Mailbox()
    server, ca_file = authority
    options: dict[str, Any] = {"auth_required": True, "authenticator": authenticate}
    if encryption == "tls":
        options |= {"tls": server, "auth_require_tls": False}
    else:
        options |= {"tls_context": server, "require_starttls": True}
    await outbox.post(pool, "ada@example.com", LETTER, DAY)
    async with serving(mailbox, **options) as port:
        settings = {"host": "127.0.0.1", "port": port, "encryption": encryption, "username": "farebox",
                    "password": password, "ca_file": ca_file if is_trusted else None}  # fmt: skip
        await deliver(pool, Mail.model_validate(settings))
    assert bool(mailbox.received) == is_received
    # Nothing of the settings is in what the operator reads.
    assert password not in str((await state(pool))[3])


async def test_starttls_is_not_given_up_when_it_is_not_offered(pool: Pool) -> None:
    mailbox = Mailbox()
    await outbox.post(pool, "ada@example.com", LETTER, DAY)
    async with serving(mailbox) as port:
        await deliver(pool, Mail(host="127.0.0.1", port=port))
    assert mailbox.received == []

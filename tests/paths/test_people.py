"""People in the whole product: from signing up to being signed out in another process."""

import re

from aiohttp import ClientSession

from control.demo.chain import Chain
from control.roles.work import work
from gateway.kit.sql import Pool
from gateway.kit.tasks import Crew
from tests.control import test_mail as smtp
from tests.control.people import EMAIL, PASSWORD
from tests.paths.conftest import Upstream, serving, settings_of
from tests.waiting import until


async def test_from_a_letter_to_being_signed_out_everywhere(
    database_url: str, pool: Pool, valkey: str, chain: Chain, paid_token: str, upstream: Upstream
) -> None:
    mailbox, crew = smtp.Mailbox(), Crew()
    async with smtp.serving(mailbox) as port, ClientSession() as session:
        mail = {"host": "127.0.0.1", "port": port, "encryption": "none"}
        settings = settings_of(
            database_url, valkey, chain, paid_token, mail=mail, public_url="https://gateway.example"
        )
        async with serving(settings) as one, serving(settings) as other:
            crew.start(work(settings, on_ready=lambda: None))
            new = {"email": EMAIL, "password": PASSWORD, "name": "Ada"}
            async with session.post(f"{one}/auth/signup", json=new) as answer:
                assert answer.status == 201

            async def is_received() -> bool:
                return bool(mailbox.received)

            await until(is_received, 15)
            text = mailbox.received[0].get_body(["plain"])
            assert text is not None
            word = re.findall(r"https://gateway.example/auth/link#verify=(\S+)", text.get_content())[0]
            async with session.post(f"{other}/auth/verify-email", json={"token": word}) as answer:
                signed_in = (await answer.json())["data"]
            headers = {"Authorization": f"Bearer {signed_in['access_token']}"}

            async def statuses(path: str) -> list[int]:
                answers = [await session.get(f"{origin}{path}", headers=headers) for origin in (one, other)]
                return [answer.status for answer in answers]

            assert await statuses("/wallet/balance") == [200, 200]
            # A paid call takes keys only: whoever holds a token spends nothing.
            body = {
                "name": "Shop", "slug": "shop", "publisher_category": "integration", "api_url": upstream.url,
                "wallet_address": chain.accounts[5].address, "wallet_network_id": chain.network,
                "price_per_call": "0.25",
            }  # fmt: skip
            made = await session.post(f"{one}/organizations/default/publishers", json=body, headers=headers)
            assert made.status == 201, await made.text()

            async def is_served() -> bool:
                return await statuses("/publishers/shop/x") == [401, 401]

            await until(is_served)
            ended = await session.post(f"{one}/sessions/revoke-all", headers=headers)
            assert (await ended.json())["data"]["revoked_count"] == 1
            assert await statuses("/wallet/balance") == [401, 401]
            assert upstream.seen == []
        await crew.close()

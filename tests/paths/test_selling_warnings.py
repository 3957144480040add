"""What a publisher hears at once of a database that sells nothing, and the operator by ``farebox doctor``."""

from typing import Any

from control.selling import checkup
from tests.paths.conftest import Farebox
from tests.paths.selling import Seller
from tests.paths.selling import seller as seller
from tests.paths.selling import shop_server as shop_server


async def test_a_publisher_is_warned_of_a_database_that_cannot_be_asked(
    farebox: Farebox, seller: Seller
) -> None:
    headers = farebox.publisher.headers
    at = f"{farebox.origin}/organizations/default/publishers"

    async def put(dsn: str) -> Any:
        body = {"database_config": {"connection_string": dsn}}
        reply = await farebox.agent.ask("PUT", f"{at}/{publisher_id}", headers=headers, body=body)
        assert reply.status == 200, reply.text
        return reply.json["data"]["warnings"]

    shop = await seller.sell(farebox)
    publisher_id = (await farebox.agent.ask("GET", shop)).json["data"]["id"]
    assert [one.remedy async for one in checkup.sellers(farebox.settings)] == [None]
    assert await put(seller.dsn()) is None
    for dsn, word in (
        (seller.dsn(password="wrong"), "with this password"),
        (seller.dsn().replace("/postgres?", "/nothing?"), "SQLSTATE 3D000"),
        (seller.dsn().replace(f":{seller.port}", ":1"), "cannot be reached"),
        (seller.dsn("powerful"), "may do more than read"),
        (seller.dsn("hermit"), "may read no table"),
    ):
        (warning,) = await put(dsn)
        # Not by the server's words, which may be anybody's.
        assert (word in warning, "FATAL" in warning, "shop_reader" in warning) == (True, False, False), (
            warning
        )
        (told,) = [one async for one in checkup.sellers(farebox.settings)]
        assert (told.subject, told.remedy is None, told.detail) == ("publisher shop", False, warning)
    # It says nothing of itself when something else is changed.
    body = {"description": "Things"}
    reply = await farebox.agent.ask("PUT", f"{at}/{publisher_id}", headers=headers, body=body)
    assert reply.json["data"]["warnings"] is None

"""What a room can say with a signature, shown on a room that exists only here."""

import asyncio
from io import BytesIO
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api import fields, inputs, openapi
from control.api.answers import Created, Done, Found, Headed
from control.api.operation import Call, Header, Room
from control.api.ports import Ports
from control.api_keys import models as api_keys
from control.publishers import models as publishers
from gateway.kit.problem import Refusal
from gateway.kit.sql import Pool
from tests.control.conftest import Client, refused_fields

room = Room("samples", "/samples")


class Busy(Refusal):
    status, slug, title = 409, "busy", "Busy"


class Gone(Refusal):
    status, slug, title = 409, "gone", "Gone"


class Thing(BaseModel, extra="forbid"):
    name: str
    count: Annotated[int, Field(ge=0, le=10)] = 0
    anything: Any = None


@room.get("/found", access=None)
async def found(call: Call) -> Found:
    """Go elsewhere."""
    return Found("https://elsewhere.example.com/")


@room.post("/done", access=None)
async def done(call: Call) -> Done:
    """Do it."""
    return Done()


@room.get("/headed", access=None)
async def headed(call: Call, *, key: Annotated[str, Header("Idempotency-Key")] = "none") -> Headed[Thing]:
    """Read a header and write one."""
    return Headed(Thing(name=key), {"X-Seen": key})


@room.put("/{thing_id}/{number}", access=None, id="replace_thing", at="/elsewhere/{thing_id}/{number}")
async def replace(
    call: Call, thing_id: UUID, number: int, *, body: Thing, size: int = 1, label: str = ""
) -> Created[Thing]:
    """Take inputs from everywhere."""
    return Created(body)


INSERT = "INSERT INTO users (id, kind, name) VALUES (gen_random_uuid(), 'agent', 'sample')"


@room.post("/together", access=None, fails=[Busy, Gone])
async def together(call: Call) -> None:
    """Write, then fail."""
    await call.db.execute(INSERT)
    raise Busy("try again")


@room.post("/apart", access=None, fails=[Busy], is_transaction=False)
async def apart(call: Call) -> None:
    """Write and commit, ask somebody outside, then fail."""
    async with call.transaction() as db:
        await db.execute(INSERT)
    raise Busy("they did not answer")


@room.get("/broken", access=None)
async def broken(call: Call) -> Done:
    """Reach a bug."""
    raise ZeroDivisionError("private text")


@room.get("/away", access=None)
async def away(call: Call) -> Done:
    """Find the database gone."""
    raise ConnectionRefusedError("private text")


@pytest.fixture
async def samples(pool: Pool, ports: Ports, aiohttp_client: AiohttpClient) -> Client:
    return await aiohttp_client(app.create(pool, ports, [room]))


async def test_found_is_a_redirect(samples: Client) -> None:
    response = await samples.get("/samples/found", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, "https://elsewhere.example.com/")


async def test_done_is_200_without_a_body(samples: Client) -> None:
    response = await samples.post("/samples/done")
    assert (response.status, await response.read()) == (200, b"")


async def test_headers_come_in_and_go_out(samples: Client) -> None:
    response = await samples.get("/samples/headed", headers={"idempotency-key": "k1"})
    assert (response.headers["X-Seen"], (await response.json())["name"]) == ("k1", "k1")
    assert (await samples.get("/samples/headed")).headers["X-Seen"] == "none"


async def test_head_is_get_without_the_body(samples: Client) -> None:
    response = await samples.head("/samples/headed")
    assert (response.status, await response.read(), response.content_type) == (200, b"", "application/json")


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("together", 0),  # one operation is one transaction
        ("apart", 1),     # unless it says otherwise
    ],
)  # fmt: skip
async def test_a_refusal_undoes_its_transaction(samples: Client, pool: Pool, path: str, kept: int) -> None:
    assert (await samples.post(f"/samples/{path}")).status == 409
    assert await pool.fetchval("SELECT count(*) FROM users WHERE name = 'sample'") == kept


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/samples/together", 409, "busy"),
        ("GET", "/samples/broken", 500, "internal-error"),
        ("GET", "/samples/away", 503, "unavailable"),
        ("GET", "/samples/absent", 404, "not-found"),
        ("GET", "/nowhere", 404, "not-found"),
        ("PUT", "/samples/done", 405, "method-not-allowed"),
    ],
)
async def test_every_error_is_a_problem(
    samples: Client, method: str, path: str, status: int, code: str
) -> None:
    response = await samples.request(method, path)
    problem = await response.json()
    assert (response.status, response.content_type) == (status, "application/problem+json")
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"/problems/{code}")
    assert problem["message"] == problem["detail"]
    assert "private" not in problem["detail"]


async def test_a_wrong_method_is_told_the_right_ones(samples: Client) -> None:
    assert (await samples.put("/samples/done")).headers["Allow"] == "POST"


async def test_every_bad_field_is_named_at_once(samples: Client) -> None:
    response = await samples.put(
        "/elsewhere/1/two", params={"size": "big"}, json={"name": 1, "count": 11, "colour": 1}
    )
    assert await refused_fields(response) == [
        "path/thing_id", "path/number", "query/size", "body/name", "body/count", "body/colour"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (fields.PersonEmail, "ada at home", "should be an e-mail address like ada@example.com"),
        (fields.Address, "0x12", "should be an EVM address: 0x and 40 hexadecimal digits"),
        (publishers.Slug, "My Shop", "should be lower-case letters, digits, and single hyphens between them"),
        (publishers.Slug, "a", "should have at least 2 characters"),
        (fields.Name, "", "should be 1 to 100 characters on one line, without a space at either end"),
        (fields.Name, "a" * 101, "should have at most 100 characters"),
        (fields.Name, 7, "should be text"),
        (api_keys.Cap, "1,5", 'should be an amount with up to 6 decimals like "2.50", or empty for no limit'),
        (UUID, "home", "should be a UUID"),
        (publishers.Category, "shop", "should be 'database', 'integration' or 'compute'"),
        (fields.Int32, 2**31, "should be at most 2147483647"),
        (Literal[True], False, "should be true"),
        # What a plugin checks is said as well as can be.
        (Annotated[str, Field(pattern="^b")], "a", "should be of another form"),
    ],
)
def test_what_is_wrong_is_said_in_words(kind: Any, value: object, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert [one.detail for one in inputs.field_problems(caught.value, "body", value)] == [words]


AT = "/elsewhere/00000000-0000-7000-8000-000000000000/1"


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b'{"name": "a"} {}', "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'{"name": "\xff"}', "body"),
        (b'{"name": "a\\u0000b"}', "body/name"),
        (b'{"name": "\\ud800"}', "body"),
        (b'{"name": "a", "anything": {"x": ["\\u0000"]}}', "body/anything/x/0"),
        (b'{"name": "a", "anything": {"\\u0000": 1}}', "body/anything"),
        (b'{"name": "a", "anything": 1e999}', "body/anything"),
        (b'{"name": "a", "anything": NaN}', "body"),
        (b'{"name": "a", "count": 1' + b"0" * 10_000 + b"}", "body"),
        (b'{"name": "a", "count": 99999999999999999999}', "body/count"),
        (b'{"name": "a", "count": "1"}', "body/count"),
        (b'{"name": "a", "count": true}', "body/count"),
        (b'{"name": "a", "anything": ' + b"[" * 100_000, "body"),
        (b'{"name": "a", "anything": ' + b'{"a":' * 100_000, "body"),
    ],
)
async def test_what_cannot_be_stored_is_400(samples: Client, raw: bytes, pointer: str) -> None:
    response = await samples.put(AT, data=raw, headers={"Content-Type": "application/json"})
    assert await refused_fields(response) == [pointer]


async def test_who_sends_no_body_is_told_what_to_send(samples: Client) -> None:
    response = await samples.put(AT, headers={"Content-Type": "application/json"})
    assert (response.status, (await response.json())["detail"]) == (400, "body: is required: send JSON")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
async def test_another_content_type_is_400(samples: Client, kind: str) -> None:
    response = await samples.put(AT, data=b'{"name": "a"}', headers={"Content-Type": kind})
    assert await refused_fields(response) == ["body"]


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"]
)
async def test_json_by_any_of_its_names_is_read(samples: Client, kind: str) -> None:
    response = await samples.put(AT, data=b'{"name": "a"}', headers={"Content-Type": kind})
    assert response.status == 201


async def test_a_query_cannot_carry_nul(samples: Client) -> None:
    assert await refused_fields(await samples.put(AT + "?label=%00", json={"name": "a"})) == ["query/label"]


async def test_a_large_body_is_413(samples: Client) -> None:
    large = BytesIO(b'{"name": "' + b"a" * 2_000_000 + b'"}')
    response = await samples.put(AT, data=large, headers={"Content-Type": "application/json"})
    assert (response.status, (await response.json())["code"]) == (413, "request-entity-too-large")


@pytest.mark.parametrize("path", [b"/samples/\xff\xfe", b"/samples/%FF%00", b"/organizations/\xff/api-keys"])
async def test_a_path_that_is_no_text_is_404(samples: Client, path: bytes) -> None:
    """Clients refuse to send such bytes; attackers write them to the socket."""
    assert samples.port is not None
    reader, writer = await asyncio.open_connection(samples.host, samples.port)
    writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    status = (await reader.read()).split(b" ")[1]
    writer.close()
    assert status in (b"400", b"404")


def documented(path: str, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = openapi.document([room])["paths"][path][method]
    return operation


def test_problem_types_that_share_a_status_are_documented_together() -> None:
    conflict = documented("/samples/together", "post")["responses"]["409"]
    assert conflict["description"] == "Busy; Gone"
    schema = conflict["content"]["application/problem+json"]["schema"]
    assert schema["properties"]["type"]["enum"] == ["/problems/busy", "/problems/gone"]


def test_responses_without_a_body_are_documented_so() -> None:
    assert documented("/samples/done", "post")["responses"]["200"] == {"description": "Do it."}
    assert "Location" in documented("/samples/found", "get")["responses"]["302"]["headers"]


def test_inputs_are_documented_by_their_place() -> None:
    places = {
        (one["name"], one["in"], one["required"])
        for path, method in [("/samples/headed", "get"), ("/elsewhere/{thing_id}/{number}", "put")]
        for one in documented(path, method)["parameters"]
    }
    assert places == {
        ("Idempotency-Key", "header", False),
        ("thing_id", "path", True),
        ("number", "path", True),
        ("size", "query", False),
        ("label", "query", False),
    }
    assert documented("/elsewhere/{thing_id}/{number}", "put")["operationId"] == "replace_thing"


def test_a_path_that_disagrees_with_the_parameters_is_refused() -> None:
    async def show(call: Call, thing_id: UUID) -> None: ...

    with pytest.raises(TypeError, match="thing_id"):
        Room("things", "/things").get("/{id}", access=None)(show)


@pytest.mark.parametrize("path", ["/samples/found", "/docs", "/openapi.json", "/nowhere"])
async def test_no_answer_says_what_we_are_made_of(samples: Client, path: str) -> None:
    answer = await samples.get(path, allow_redirects=False)
    assert answer.headers["Server"] == "farebox"


async def test_the_document_and_its_page_are_served_to_anyone(samples: Client) -> None:
    shown = await samples.get("/openapi.json")
    assert (await shown.json())["info"]["title"] == "Farebox API"
    page = await samples.get("/docs")
    text = await page.text()
    assert (page.status, page.content_type) == (200, "text/html")
    assert "script-src 'sha256-" in page.headers["Content-Security-Policy"]
    assert "http://" not in text
    assert "https://" not in text

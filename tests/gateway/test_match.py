import pytest

from gateway.kit.problem import Invalid, NotFound
from gateway.match import EndpointProtected, EndpointUnknown, match
from tests.gateway.routes import endpoint, inbound, route, snapshot


@pytest.mark.parametrize(
    ("api_url", "path", "query", "url"),
    [
        ("https://api.example/v1", "/now", "", "https://api.example/v1/now"),
        ("https://api.example/v1/", "/now", "", "https://api.example/v1/now"),
        ("https://api.example", "", "", "https://api.example"),
        ("https://api.example", "/", "", "https://api.example/"),
        # Forwarded byte for byte, not decoded and encoded again.
        ("https://api.example", "/a%20b%C3%A9", "q=%2F&r=a+b", "https://api.example/a%20b%C3%A9?q=%2F&r=a+b"),
        ("https://api.example", "/a//".rstrip("/") + "/", "", "https://api.example/a/"),
    ],
)
def test_the_path_and_query_are_forwarded_as_sent(api_url: str, path: str, query: str, url: str) -> None:
    assert match(snapshot(route(api_url=api_url)), inbound(path, query=query)).url == url


@pytest.mark.parametrize(
    "path",
    [
        "/a//b", "//a", "/./a", "/a/../b", "/%2e%2e/b", "/a/%2E/b", "/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b",
        "/a%252fb", "/a%00", "/a%0d%0ab", "/a%7f", "/a b", "/a%zz", "/a%2", "/é", "/a<b", "/..", "/a/..",
        # Servers that know ";" parameters, like Tomcat, read these as the ones above.
        "/a/..;/b", "/a/..;x=y/b", "/.;/a", "/;/a", "/a/;", "/a/;x=y/b", "/a/%2e%2e;/b", "/%3b/a",
        "/..%c0%afa", "/%C1%9c",
    ],
)  # fmt: skip
def test_a_path_that_can_be_read_in_two_ways_is_refused(path: str) -> None:
    with pytest.raises(Invalid):
        match(snapshot(route()), inbound(path))


def test_an_unknown_publisher_is_not_found() -> None:
    with pytest.raises(NotFound):
        match(snapshot(route()), inbound(slug="nobody"))


ITEMS = (
    endpoint("GET", "/items"),  # 0
    endpoint("GET", "/items/{id}"),  # 1
    endpoint("GET", "/items/best"),  # 2
    endpoint("POST", "/items"),  # 3
    endpoint("GET", "/admin", is_protected=True, protection_reason="ours"),  # 4
    endpoint("GET", "/{page}"),  # 5
    endpoint("GET", "/files/*"),  # 6
)


@pytest.mark.parametrize(
    ("method", "path", "position"),
    [
        ("GET", "/items", 0),
        ("GET", "/items/", 0),
        ("GET", "/ITEMS", 0),
        ("GET", "/items;v=2", 0),
        ("HEAD", "/items", 0),  # priced as GET
        ("POST", "/items", 3),
        ("PUT", "/items", None),
        ("GET", "/items/7", 1),
        ("GET", "/items/best", 2),  # words before wildcards
        ("GET", "/items/7/more", None),
        ("GET", "/about", 5),
        ("GET", "/files/a/b/c", 6),
        ("GET", "/", None),
    ],
)
def test_the_most_specific_endpoint_is_found(method: str, path: str, position: int | None) -> None:
    assert match(snapshot(route(*ITEMS)), inbound(path, method)).position == position


@pytest.mark.parametrize("path", ["/admin", "/admin/", "/Admin", "/ADMIN/", "/admin;x=1", "/%61dmin"])
def test_a_protected_endpoint_has_no_back_door(path: str) -> None:
    with pytest.raises(EndpointProtected, match="ours"):
        match(snapshot(route(*ITEMS)), inbound(path))


@pytest.mark.parametrize(("path", "is_found"), [("/items", True), ("/other/x", False)])
def test_default_deny_sells_only_what_is_documented(path: str, is_found: bool) -> None:
    closed = snapshot(route(*ITEMS, undocumented="default_deny"))
    if is_found:
        assert match(closed, inbound(path)).position == 0
        return
    with pytest.raises(EndpointUnknown):
        match(closed, inbound(path))

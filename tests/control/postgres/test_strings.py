import pytest

from control.postgres import strings


@pytest.mark.parametrize(
    ("origin", "host", "told"),
    [
        ("http://127.0.0.1:8402", "127.0.0.1", "127.0.0.1"),
        ("http://localhost:8402", "127.0.0.1", "127.0.0.1"),
        ("http://localhost:8402", "0.0.0.0", "localhost"),
        ("https://gateway.example", "0.0.0.0", "gateway.example"),
        # Nobody who reaches this API at that name reaches a loopback address of ours.
        ("https://gateway.example", "127.0.0.1", "gateway.example"),
        ("https://gateway.example", "10.0.0.7", "10.0.0.7"),
    ],
)
def test_the_proxy_is_where_clients_reach_it(origin: str, host: str, told: str) -> None:
    assert strings.reach_of(origin, host, 6432, None).uri("ep-a").startswith(f"postgresql://app@{told}:6432/")

"""Where whoever runs long answers."""

from __future__ import annotations

import httpx
import pytest

from laneway.errors import SettingsError
from laneway.probes import Answer, Probes, address_of_health


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9100", ("127.0.0.1", 9100)),
        (":9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
        ("[::1]:9100", ("::1", 9100)),
        ("", None),
    ],
)
def test_an_address(text: str, address: tuple[str, int] | None) -> None:
    assert address_of_health(text) == address


def test_the_environment_says_it_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANEWAY_HEALTH", raising=False)
    assert address_of_health() is None
    monkeypatch.setenv("LANEWAY_HEALTH", "9101")
    assert address_of_health() == ("127.0.0.1", 9101)


@pytest.mark.parametrize("text", ["localhost", "localhost:http", "1:70000", "9100:"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError, match="expected HOST:PORT or PORT"):
        address_of_health(text)


def test_pages_of_others_stand_beside_its_own() -> None:
    pages = {
        "/scale/": lambda queue: Answer(status=503, kind="text/x", body=queue.encode()),
        "/explain": lambda rest: Answer(status=200, kind="text/x", body=repr(rest).encode()),
    }
    probes = Probes(
        ("127.0.0.1", 0), alive=list, ready=lambda: ["not yet"], metrics=lambda: b"m", pages=pages
    )
    try:
        url = f"http://127.0.0.1:{probes.port}"

        def ask(path: str) -> tuple[int, str]:
            answer = httpx.get(url + path, timeout=5, trust_env=False)
            return answer.status_code, answer.text

        assert ask("/scale/high?x=1") == (503, "high")
        assert ask("/scale/a%20b") == (503, "a b")
        assert ask("/explain") == (200, "''")
        assert ask("/livez") == (200, "ok\n")
        assert ask("/readyz") == (503, "not yet\n")
        assert ask("/metrics") == (200, "m")
        for path in ("/scale/", "/scale", "/explain/high", "/", "/nothing", "/scale/a/b"):
            assert ask(path) == (404, "not found\n"), path
    finally:
        probes.close()

"""Where whoever runs long answers."""

from __future__ import annotations

import pytest

from laneway.errors import SettingsError
from laneway.probes import address_of_health


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

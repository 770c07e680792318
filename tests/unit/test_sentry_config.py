"""The settings of Sentry: all that is wrong at once, and never a key in a message."""

from __future__ import annotations

import pytest

from laneway.errors import SettingsError
from laneway.sentry.config import Config, place_of_dsn, read_config

QUEUES = ("high", "low", "secure")
KEY = "0123456789abcdef"
GOOD = f"https://{KEY}@o1.ingest.sentry.io/42"


def problems(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read_config(QUEUES, environ)
    assert KEY not in str(raised.value)
    return str(raised.value).split("\n  ")[1:]


def test_nothing_said_is_off() -> None:
    config = read_config(QUEUES, {})
    assert config == Config()
    assert config.dsn_for(secure=False) is None
    assert config.dsn_for(secure=True) is None
    assert config.traces_rate("high") == 0.0


def test_what_is_said() -> None:
    config = read_config(
        QUEUES,
        {
            "LANEWAY_SENTRY_DSN": GOOD,
            "LANEWAY_SENTRY_SECURE_DSN": GOOD + "1",
            "LANEWAY_SENTRY_ENVIRONMENT": "staging",
            "LANEWAY_RELEASE": "shop@4.2",
            "LANEWAY_IMAGE": "registry/shop:4.2",
            "LANEWAY_SENTRY_TRACES": "0.01, low=0,high = 1",
        },
    )
    assert (config.dsn_for(secure=False), config.dsn_for(secure=True)) == (GOOD, GOOD + "1")
    assert (config.environment, config.release) == ("staging", "shop@4.2")
    assert config.image == "registry/shop:4.2"
    assert [config.traces_rate(name) for name in QUEUES] == [1.0, 0.0, 0.01]
    assert KEY not in repr(config)


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        (f"ftp://{KEY}@host/1", "does not begin with https://"),
        (KEY, "does not begin with https://"),
        ("https://host/1", "without a key"),
        (f"https://{KEY}@/1", "without a host"),
        (f"https://{KEY}@host/", "project's number"),
        (f"https://{KEY}@host/{KEY}", "project's number"),
        (f"https://{KEY}@host/²", "project's number"),
        (f"https://{KEY}@[host/1", "is no address"),
        (f"https://{KEY}@host:port/1", "is no address"),
    ],
)
def test_a_wrong_dsn(dsn: str, words: str) -> None:
    [problem] = problems(LANEWAY_SENTRY_DSN=dsn)
    assert problem.startswith("LANEWAY_SENTRY_DSN: expected https://KEY@HOST/PROJECT")
    assert words in problem


def test_everything_wrong_is_told_at_once() -> None:
    found = problems(
        LANEWAY_SENTRY_DSN="x",
        LANEWAY_SENTRY_SECURE_DSN="y",
        LANEWAY_SENTRY_ENVIRONMENT="a b",
        LANEWAY_RELEASE="a/b",
        LANEWAY_SENTRY_TRACES="2,hihg=0.1,low=x",
    )
    assert [problem.partition(":")[0] for problem in found] == [
        "LANEWAY_SENTRY_DSN",
        "LANEWAY_SENTRY_SECURE_DSN",
        "LANEWAY_SENTRY_ENVIRONMENT",
        "LANEWAY_RELEASE",
        "LANEWAY_SENTRY_TRACES",
        "LANEWAY_SENTRY_TRACES",
        "LANEWAY_SENTRY_TRACES",
    ]
    assert "did you mean 'high'?" in found[5]


def test_a_release_is_nobodys_business_without_sentry() -> None:
    assert read_config(QUEUES, {"LANEWAY_RELEASE": "a/b"}).release == "a/b"


def test_a_dsn_for_people_has_no_key() -> None:
    assert place_of_dsn(f"http://{KEY}:pw@host:8765/3") == "http://host:8765/3"

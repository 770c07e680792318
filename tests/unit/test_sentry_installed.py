"""Without the SDK, or with an old one: a clear error where a DSN is set, and nothing where not."""

from __future__ import annotations

import sys

import pytest

from laneway import Laneway
from laneway.checkup.sentry import sentry_checks
from laneway.errors import SettingsError
from laneway.policy import load_policy
from laneway.sentry import installed
from laneway.worker import reporting, telling
from support.workers import POLICY

KEY = "0123456789abcdef"
ON = {"LANEWAY_SENTRY_DSN": f"https://{KEY}@sentry.invalid/7"}


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("laneway.sentry.sdk", "laneway.sentry.scopes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)


def start(app: Laneway) -> None:
    teller = telling.connect(app, "low", "low@here")
    reporting.start(app, "low", "low@here", direct=True, teller=teller)


@pytest.fixture
def app() -> Laneway:
    app = Laneway("no-sdk", policy=load_policy(POLICY), set_as_current=False, backend="disabled://")
    app.serve("low")
    return app


def test_a_dsn_without_the_sdk_is_an_error(
    app: Laneway, missing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANEWAY_SENTRY_DSN", ON["LANEWAY_SENTRY_DSN"])
    with pytest.raises(SettingsError, match=r"pip install 'laneway\[sentry\]'") as raised:
        start(app)
    assert KEY not in str(raised.value)


def test_without_a_dsn_nobody_asks_for_it(
    app: Laneway, missing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANEWAY_SENTRY_DSN", raising=False)
    start(app)
    assert app.reporter is None


@pytest.mark.parametrize(("version", "fits"), [("2.58.9", False), ("2.59.0", True), ("3.0", True)])
def test_an_old_sdk(version: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "version", lambda _: version)
    if fits:
        installed.check_installed()
    else:
        with pytest.raises(SettingsError, match=r"expected sentry-sdk 2\.59 or newer.*2\.58\.9"):
            installed.check_installed()


# -- the doctor ------------------------------------------------------------------------------------


def test_the_doctor_says_where_failures_go() -> None:
    checks = list(sentry_checks(load_policy(POLICY), ON))
    assert [(check.verdict, check.finding) for check in checks] == [
        ("ok", "failures of ordinary queues go to https://sentry.invalid/7"),
        ("ok", "failures of secure queues go nowhere: LANEWAY_SENTRY_SECURE_DSN is not set"),
    ]


def test_the_doctor_finds_wrong_settings() -> None:
    [check] = sentry_checks(load_policy(POLICY), {"LANEWAY_SENTRY_DSN": f"ftp://{KEY}@x/1"})
    assert check.verdict == "fail"
    assert "LANEWAY_SENTRY_DSN" in check.finding
    assert KEY not in check.finding


def test_the_doctor_misses_the_sdk(missing: None) -> None:
    *_, check = sentry_checks(load_policy(POLICY), ON)
    assert check.verdict == "fail"
    assert "pip install" in check.finding
    assert [one.verdict for one in sentry_checks(load_policy(POLICY), {})] == ["ok", "ok"]

"""``laneway up --sentry``: a failed job is an issue that a person can read in a browser.

``pytest tests/acceptance/test_up_sentry.py --pictures docs/pictures`` draws the pictures of
docs/how-to/triage.md again.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

from laneway.local import find_bugsink
from support.browser import Browser, find_chromium
from support.up import processes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.cli import Cli
    from support.up import Up

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
ORDER = {"number": 4711, "customer": 7, "day": "1997-01-31", "items": 2, "cents": 0}


def test_an_issue_in_a_browser(
    up: Callable[..., Up], bare: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if find_bugsink() is None:
        pytest.skip("Bugsink is not installed: make bugsink shows its licence and installs it")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium in PATH (on Debian: apt-get install chromium-headless-shell)")
    pictures: Path | None = request.config.getoption("--pictures")
    shop = ("--app", "shop.app:app", "--app-dir", str(ROOT / "examples"), "--queue", "default")
    running = up(*shop, "--sentry", LANEWAY_POLICY=str(ROOT), LANEWAY_RELEASE="shop@2.7.1")
    run = running.wait_until_ready()
    running.wait_for("errors: http")
    found = re.search(r"errors: (http://\S+)  log in as (\S+) with (\S+)", running.said)
    assert found, running.said
    url, user, password = found.groups()

    shell = bare.having(LANEWAY_POLICY=str(ROOT))
    arguments = json.dumps([ORDER])
    for _ in range(3):
        answer = shell("submit", "shop.orders.validate", "--args", arguments, "--wait", "60")
        assert answer.status == 1, answer.err

    with Browser(chromium, tmp_path / "profile", width=1100, height=720) as browser:
        browser.open(url)
        browser.fill("input[name=username]", user)
        browser.fill("input[name=password]", password)
        browser.click("form button")
        browser.wait_until(f"location.href === {url!r}")
        until = time.monotonic() + 30
        while "ValidationError" not in browser.text:
            assert time.monotonic() < until, browser.text
            time.sleep(0.5)
            browser.open(url)
        save(browser, pictures, "triage-issues.png")

        browser.click("a[href*='/issues/issue/']")
        browser.wait_until("location.pathname.startsWith('/issues/issue/')")
        browser.wait_until("document.readyState === 'complete'")
        assert "ValidationError" in browser.text
        assert "shop.orders" in browser.text
        save(browser, pictures, "triage-place.png")

        page = re.sub(r"/event/.*", "/event/last/details/", browser.path)
        browser.open(urljoin(url, page))
        text = browser.text
        [replay] = set(re.findall(r"laneway dead replay --cause [0-9a-f]+ --first 10", text))
        [show] = re.findall(r"laneway dead show \S+", text)
        for said in ("shop.orders.validate", "default", "shop@2.7.1", "cause", "outcome"):
            assert said in text, said
        browser.resize(1100, 1060)
        browser.run("document.getElementById('tags').scrollIntoView()")
        save(browser, pictures, "triage-commands.png")

    # What the page says can be typed.
    sheet = shell(*shlex.split(show)[1:])
    assert sheet.status == 0, sheet.err
    assert "ValidationError" in sheet.out
    dry = shell(*shlex.split(replay)[1:], "--dry-run")
    assert dry.status == 0, dry.err

    assert running.end(signal.SIGTERM) == 0
    assert processes_of(run) == set()
    assert list((running.home / "runs").iterdir()) == []


def save(browser: Browser, folder: Path | None, name: str) -> None:
    if folder is not None:
        browser.picture(folder / name)


def test_without_its_licence_nothing_is_installed_or_started(
    up: Callable[..., Up], tmp_path: Path
) -> None:
    running = up("--sentry", LANEWAY_BUGSINK_ROOT=str(tmp_path / "nothing"))
    assert running.process.wait(60) == 5
    running.ended()
    assert "PolyForm Shield License 1.0.0" in running.said
    assert "was not accepted" in running.said
    assert "--accept-licence" in running.said
    assert not (running.home / "runs").exists()
    assert not (tmp_path / "nothing").exists()

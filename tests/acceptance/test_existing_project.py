"""An existing Celery project, with a published task package, changes one line."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from laneway.broker import broker_address
from laneway.broker.management import Management
from support.cli import Cli
from support.workers import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.workloads import LocalPlatform

pytestmark = pytest.mark.integration

EXISTING = Path(__file__).parent.parent.parent / "examples" / "existing"
PACKAGE = "django-celery-email"
READER = "ada@example.org"


def mails(folder: Path, count: int, worker: WorkerProcess | None = None) -> list[str]:
    """Wait for mails that the package's task wrote, each to its end (Django rules one off)."""
    until = time.monotonic() + 60

    def written() -> list[str]:
        texts = [file.read_text() for file in folder.glob("*.log")]
        return [text for text in texts if text.rstrip().endswith("-" * 79)]

    while len(found := written()) < count:
        assert time.monotonic() < until, worker.tail() if worker else found
        time.sleep(0.1)
    return found


def publish(environment: dict[str, str], expression: str) -> None:
    program = f"import news; print(news.{expression})"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)


def test_the_change_is_one_line() -> None:
    before, after = (
        (EXISTING / side / "news.py").read_text().splitlines() for side in ("before", "after")
    )
    assert len(before) == len(after)
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == [
        ("from celery import Celery", "from laneway import Laneway as Celery")
    ]


def test_the_package_is_as_it_was_published() -> None:
    files = importlib.metadata.files(PACKAGE)
    assert files
    hashed = [file for file in files if file.hash]
    assert any(file.name == "tasks.py" for file in hashed)
    for file in hashed:
        assert file.hash is not None
        digest = hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value


@pytest.fixture
def environment(platform: LocalPlatform, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The project after the change, in virtual hosts of its own."""
    urls, management = platform.address.urls, platform.address.management_url
    address = broker_address(urls, management, vhost_prefix=f"test-{secrets.token_hex(5)}-", env={})
    cli = Cli(tmp_path / "home", **platform.environment).having(
        LANEWAY_VHOST_PREFIX=address.vhost_prefix,
        PYTHONPATH=str(EXISTING / "after"),
        NEWS_MAILS=str(tmp_path / "mails"),
    )
    assert cli("topology", "apply", "--yes").status == 0
    yield dict(cli.environment)
    with Management(address) as client:
        for kind in ("jobs", "secure"):
            client.delete_vhost(address.vhost(kind))


def test_the_project_as_it_was(platform: LocalPlatform, tmp_path: Path) -> None:
    vhost = f"test-{secrets.token_hex(5)}"
    environment = {
        **Cli(tmp_path / "home").environment,
        "PYTHONPATH": str(EXISTING / "before"),
        # Where librabbitmq is installed, plain Celery would take that for amqp://, and die of it.
        "NEWS_BROKER": f"py{platform.address.urls[0]}/{vhost}",
        "NEWS_MAILS": str(tmp_path / "mails"),
    }
    with Management(platform.address) as client:
        client.create_vhost(vhost)
        publish(environment, f"welcome.delay({READER!r})")
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "news", "worker", "-c", "1"],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            [mail] = mails(tmp_path / "mails", 1)
            assert f"To: {READER}" in mail
        finally:
            worker.terminate()
            worker.wait(60)
            client.delete_vhost(vhost)


def test_the_project_on_laneway(environment: dict[str, str], tmp_path: Path) -> None:
    with WorkerProcess("default", environment, app="news:app") as worker:
        publish(environment, f"welcome.apply_async(({READER!r},), priority=8)")
        [mail] = mails(tmp_path / "mails", 1, worker)
        assert f"To: {READER}" in mail
        [sent] = worker.wait_for("succeeded", task="djcelery_email_send_multiple")
        assert sent.priority == 8, "inherited from the job that sent it"
        assert worker.stop() == 0

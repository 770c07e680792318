"""The rendered units under a real supervisord: workers start, stop by the book, and come back."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from laneway.policy import load_policy
from laneway.render import render_supervisor
from support.workers import POLICY, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

BIN = Path(sys.executable).parent
PATIENCE = 60
MAIN = """\
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
nodaemon=true
silent=true

[unix_http_server]
file={folder}/supervisor.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{folder}/supervisor.sock

[include]
files = deploy/supervisor/*.conf
"""


class Supervised:
    """The units of the tests' policy, on ports and with logs of their own."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        # Of five digits, so that two runs do not meet: 92xx becomes 2N2xx.
        self.ports = f"2{secrets.randbelow(10)}"
        render_supervisor(load_policy(POLICY), folder).write(folder)
        for unit in (folder / "deploy/supervisor").glob("*.conf"):
            text = unit.read_text().replace("/var/log/laneway/", f"{folder}/")
            unit.write_text(re.sub(r"127\.0\.0\.1:9", f"127.0.0.1:{self.ports}", text))
        main = folder / "supervisord.conf"
        main.write_text(MAIN.format(folder=folder))
        self.control_command = [str(BIN / "supervisorctl"), "-c", str(main)]
        self.process = subprocess.Popen(
            [str(BIN / "supervisord"), "-c", str(main)],
            env={**env, "PATH": f"{BIN}{os.pathsep}{env['PATH']}"},
            stdin=subprocess.DEVNULL,
        )

    def ctl(self, *command: str) -> str:
        """``supervisorctl``; its status says how programs are, which the text says better."""
        return subprocess.run(
            [*self.control_command, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        ).stdout

    def pid(self, program: str) -> int:
        return int(self.ctl("pid", program))

    def wait_until_ready(self, port: str) -> None:
        url = f"http://127.0.0.1:{self.ports}{port}/readyz"

        def ready() -> bool:
            try:
                return httpx.get(url, timeout=5, trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        wait(ready, lambda: self.ctl("status"))

    def log(self, program: str) -> str:
        return (self.folder / f"{program}.log").read_text()

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()


def wait(until: Callable[[], bool], said: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < end, said()
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def supervised(
    topology: BrokerAddress, redis: PrivateRedis, tmp_path: Path
) -> Iterator[Supervised]:
    env = environment(topology, redis.url, LANEWAY_APP="support.tasks:app")
    env.pop("PYTHONSAFEPATH", None)
    running = Supervised(tmp_path, env)
    try:
        yield running
    finally:
        running.close()


def test_workers_run_stop_and_come_back_under_supervisord(
    supervised: Supervised, topology: BrokerAddress, redis: PrivateRedis, tmp_path: Path
) -> None:
    app = make_app(topology, redis.url)
    high, low = "laneway-worker-high:laneway-worker-high-00", "laneway-worker-low"
    # In the order of their names: control 9100, default 9200, high 9300, low 9400, secure 9500.
    for port in ("100", "200", "300", "400", "500"):
        supervised.wait_until_ready(port)
    assert app.send_task("plain.add", (1, 2), queue="high").get(timeout=PATIENCE) == 3

    # Told to stop while a job runs: the job ends, then the worker, by itself and with status 0.
    job = app.send_task("plain.sleep", (0.5,), queue="high")
    wait(lambda: job.state == "STARTED", lambda: job.state)
    parent = supervised.pid(high)
    family = [parent, *children(parent)]
    assert len(family) > 1, "a prefork worker has processes"
    assert "stopped" in supervised.ctl("stop", high)
    assert job.get(timeout=PATIENCE) == 0.5
    assert [pid for pid in family if runs(pid)] == []
    wait(
        lambda: "stopped: laneway-worker-high-00 (exit status 0)" in log_of(supervised),
        lambda: log_of(supervised),
    )

    # A job that does not end within the grace is handed back, and runs where it is started again.
    held = app.send_task("plain.hold", (str(tmp_path / "held"),), queue="high")
    supervised.ctl("start", high)
    wait(lambda: held.state == "STARTED", lambda: held.state)
    assert "stopped" in supervised.ctl("stop", high)
    (tmp_path / "held").touch()
    supervised.ctl("start", high)
    held.get(timeout=PATIENCE)

    # Killed: its processes go as well, and supervisord starts another.
    [name] = re.findall(rf"({low}\S*)", supervised.ctl("status"))
    before = supervised.pid(name)
    family = [before, *children(before)]
    os.kill(before, signal.SIGKILL)
    wait(
        lambda: supervised.pid(name) not in (0, before) and not any(runs(pid) for pid in family),
        lambda: supervised.ctl("status") + str([pid for pid in family if runs(pid)]),
    )
    assert app.send_task("plain.add", (3, 4), queue="low").get(timeout=PATIENCE) == 7


def log_of(supervised: Supervised) -> str:
    """What supervisord wrote about its programs."""
    return (supervised.folder / "supervisord.log").read_text()

"""The image without an engine: its steps in clean folders, and its processes.

Commands and variables are those of the rendered manifests, the broker is a real one. What runs is
process 1 of its own namespace, user 10001 without any rights, on a read-only root.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from laneway.local import InstallFailed, ServerNotInstalled
from support.image import Builder, Stage
from support.image_base import image_base
from support.rendered import ROOT
from support.workers import make_app

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

# Making the Debian below it takes two minutes, once.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PATIENCE = 60
BASE = ROOT / "deploy/k8s/base"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The image with the shop as its application, as the how-to makes it."""
    if os.geteuid() != 0:
        pytest.skip("only root can change the root folder of a process")
    try:
        base = image_base()
    except (ServerNotInstalled, InstallFailed) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)
    try:
        stage = Builder(ROOT, base, folder).build()
        shutil.copytree(ROOT / "examples/shop", stage.root / "app/shop")
        stage.environment |= {"LANEWAY_APP_DIR": "/app", "LANEWAY_APP": "shop.app:app"}
        yield stage
    finally:
        shutil.rmtree(folder)


def manifest(name: str, kind: str) -> dict[str, Any]:
    """The pod of an object in the base."""
    for one in yaml.safe_load_all((BASE / f"{name}.yaml").read_text()):
        if one["kind"] == kind:
            return dict(one["spec"]["template"]["spec"])
    raise AssertionError(f"{name}.yaml: no {kind}")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def variables(address: BrokerAddress, redis: PrivateRedis, container: Any) -> dict[str, str]:
    """What the container's manifest says, with what its Secrets would."""
    secret = {
        "LANEWAY_BROKER_URL": ",".join(address.urls),
        "LANEWAY_MANAGEMENT_URL": address.management_url or "",
        "LANEWAY_RESULT_BACKEND": redis.url,
    }
    said = {"LANEWAY_VHOST_PREFIX": address.vhost_prefix}
    for one in container["env"]:
        said[one["name"]] = one["value"] if "value" in one else secret[one["name"]]
    return said


def process_1(started: subprocess.Popen[str], name: str) -> int:
    """What is process 1 inside, as this machine counts, as soon as it is the program itself."""
    until = time.monotonic() + PATIENCE
    while True:
        inside = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        if inside and name in Path(f"/proc/{inside[0]}/cmdline").read_text():
            return int(inside[0])
        assert started.poll() is None, ended(started)
        assert time.monotonic() < until
        time.sleep(0.05)


def ended(started: subprocess.Popen[str]) -> str:
    started.kill()
    return started.communicate()[0][-4000:]


def wait_until_ready(started: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert started.poll() is None, ended(started)
        assert time.monotonic() < until, ended(started)
        time.sleep(0.1)


def healthcheck(image: Stage, port: int) -> int:
    """The status of the Compose file's own, asking another port."""
    said = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["x-ready"]["test"]
    assert said[0] == "CMD"
    command = [part.replace(":8080/", f":{port}/") for part in said[1:]]
    with image.start(command, {}) as started:
        started.communicate(timeout=PATIENCE)
        return int(started.returncode)


def test_only_the_virtual_environment_is_added(image: Stage) -> None:
    site = next((image.root / "opt/laneway/lib").glob("python3*/site-packages"))
    assert (site / "laneway/_policy/queues/high.toml").exists()
    assert not (image.root / "source").exists()
    assert not (image.root / "opt/build").exists()
    assert not (site / "pip").exists()
    assert not list(site.rglob("*.so.*.lock"))
    megabytes = sum(f.stat().st_size for f in (image.root / "opt").rglob("*") if f.is_file()) / 1e6
    assert megabytes < 60
    writable = [
        path
        for path in (image.root / "opt").rglob("*")
        if not path.is_symlink() and (path.stat().st_mode & 0o002 or path.stat().st_uid != 0)
    ]
    assert writable == []
    assert image.labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_it_is_user_10001_without_rights_on_a_read_only_root(image: Stage) -> None:
    code = (
        "import os, sys, laneway; "
        "status = open('/proc/self/status').read(); "
        "print(os.getpid(), os.getuid(), os.getgid(), os.getgroups(), sys.flags.safe_path); "
        "print(*(line for line in status.splitlines() if line[:3] in ('Cap', 'NoN')), sep='\\n'); "
        "open('/tmp/x', 'w').close(); open('/opt/x', 'w')"
    )
    with image.start(["python3", "-c", code], {}) as started:
        said = started.communicate(timeout=PATIENCE)[0]
    assert said.startswith("1 10001 10001 [] True\n"), said
    for line in said.splitlines():
        if line.startswith("Cap"):
            assert int(line.split()[1], 16) == 0, line
    assert "NoNewPrivs:\t1" in said
    assert "Read-only file system: '/opt/x'" in said


def test_its_user_and_group_have_names_and_nobody_can_log_in(image: Stage) -> None:
    code = (
        "import getpass, grp, os; "
        "print(getpass.getuser(), grp.getgrgid(os.getegid()).gr_name, os.path.expanduser('~'))"
    )
    with image.start(["python3", "-c", code], {}) as started:
        said = started.communicate(timeout=PATIENCE)[0]
    assert said == "laneway laneway /nonexistent\n"
    shadow = image.root / "etc/shadow"
    assert not shadow.exists() or "laneway" not in shadow.read_text()


def test_the_default_command_is_the_help(image: Stage) -> None:
    with image.start(image.command, {}) as started:
        said = started.communicate(timeout=PATIENCE)[0]
        assert started.returncode == 0, said
    assert "Usage: laneway" in said


@pytest.mark.broker43
def test_the_pods_of_the_manifests(
    image: Stage, address: BrokerAddress, redis: PrivateRedis
) -> None:
    """Topology, what waits for it, a worker, and the control process, as a cluster runs them."""
    [topology] = manifest("topology", "Job")["containers"]
    pod = manifest("worker-high", "Deployment")
    [worker], waits = pod["containers"], pod.get("initContainers", [])
    for container in (topology, *waits):
        with image.start(container["command"], variables(address, redis, container)) as started:
            said = started.communicate(timeout=PATIENCE)[0]
            assert started.returncode == 0, said

    port = free_port()
    env = {**variables(address, redis, worker), "LANEWAY_HEALTH": str(port)}
    env |= {"LANEWAY_APP": "shop.app:app"}
    app = make_app(address, redis.url, ROOT)
    with image.start(worker["command"], env) as started:
        pid = process_1(started, "laneway")
        wait_until_ready(started, port)
        assert httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False).status_code == 200
        assert healthcheck(image, port) == 0
        job = app.send_task("shop.mail.password_reset", ("ada@example.org",), queue="high")
        job.get(timeout=PATIENCE)
        os.kill(pid, signal.SIGTERM)
        began = time.monotonic()
        said = started.communicate(timeout=pod["terminationGracePeriodSeconds"])[0]
        assert started.returncode == 0, said
        assert time.monotonic() - began < pod["terminationGracePeriodSeconds"]
        assert "SecurityWarning" not in said, "Celery knows its user and group"
        assert not re.search(r"(?m)^\S+: \w*Warning: ", said), said
    assert healthcheck(image, port) != 0

    pod = manifest("control", "Deployment")
    [control] = pod["containers"]
    port = free_port()
    env = {**variables(address, redis, control), "LANEWAY_HEALTH": str(port)}
    with image.start(control["command"], env) as started:
        pid = process_1(started, "laneway")
        wait_until_ready(started, port)
        os.kill(pid, signal.SIGTERM)
        said = started.communicate(timeout=pod["terminationGracePeriodSeconds"])[0]
        assert started.returncode == 0, said

"""A pod on the node of the tests: real processes, as the kubelet would run them."""

from __future__ import annotations

import asyncio
import sys
import uuid
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cluster import network, reaper
from cluster.errors import ClusterUnavailable
from cluster.node.host import Host, Place
from cluster.node.image import Image, closed_folders
from cluster.node.pod import Pod
from cluster.node.probes import Prober

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

#: A program that says what it is and ends on SIGTERM, with a code of its own.
_SERVE = """
import http.server, os, pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(pathlib.Path('/state' + self.path).read_text()))
        self.end_headers()
    def log_message(self, *_): pass
print('up', flush=True)
http.server.HTTPServer(('0.0.0.0', 8080), Handler).serve_forever()
"""


class Cluster:
    """Networks and objects for pods that no API server knows of."""

    def __init__(self, folder: Path, networks: network.Network) -> None:
        self.folder = folder
        self.networks = networks
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.config_maps: dict[str, dict[str, bytes]] = {}
        self.addresses = {"rabbitmq": "10.89.9.9"}
        self.images = {
            "python": Image(entrypoint=(sys.executable,), user=65532, group=65532),
            "rooted": Image(),
        }

    async def attach(self, name: str) -> Place:
        return Place(self.networks.attach(name), self.networks.netns_of(name))

    async def detach(self, name: str) -> None:
        self.networks.detach(name)

    def secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        return self.secrets.get(name)

    def config_map(self, namespace: str, name: str) -> dict[str, bytes] | None:
        return self.config_maps.get(name)

    def services(self, namespace: str) -> list[dict[str, Any]]:
        spec = {"clusterIP": "10.96.0.9", "ports": [{"port": 5672, "name": "amqp"}]}
        return [{"metadata": {"name": "rabbit-mq"}, "spec": spec}]

    def names(self, namespace: str) -> dict[str, str]:
        return self.addresses

    async def token(self, namespace: str, account: str, asked: dict[str, Any]) -> bytes:
        return f"token of {account}".encode()

    def play(self, story: Callable[[Host], Any]) -> None:
        """Run a coroutine where pods can be reached."""

        async def all_of_it() -> None:
            async with Prober() as prober:
                host = Host(
                    name="node-a",
                    address="10.89.0.1",
                    folder=self.folder / "pods",
                    logs=self.folder / "logs",
                    images=self.images,
                    open_folders=tuple(closed_folders()),
                    network=self,
                    objects=self,
                    around=self,
                    prober=prober,
                    backoff=0.1,
                    again=0.1,
                )
                host.logs.mkdir()
                await asyncio.wait_for(story(host), 60)

        with network.inside(self.networks.netns):
            asyncio.run(all_of_it())


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    try:
        network.check()
    except ClusterUnavailable as why:
        pytest.skip(str(why))
    folder = reaper.make_folder()
    folder.chmod(0o755)
    try:
        yield Cluster(folder, network.Network(folder))
    finally:
        reaper.remove_all(folder)


def spec(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = [
        {"name": f"c{place}", "image": "python", **each} for place, each in enumerate(containers)
    ]
    return {
        "metadata": {
            "name": "pod-1", "namespace": "default", "uid": str(uuid.uuid4()),
            "labels": {"app": "shop"},
        },
        "spec": {"containers": named, "nodeName": "node-a", "restartPolicy": "Never", **more},
    }  # fmt: skip


@asynccontextmanager
async def running(document: dict[str, Any], host: Host) -> AsyncIterator[Pod]:
    """A pod that runs in the block and is killed at its end, if it still runs."""
    pod = Pod(document, host)
    life = asyncio.create_task(pod.run())
    try:
        yield pod
    finally:
        pod.terminate(0)
        await life


async def until(is_so: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 (what is looked at tells nobody)
            await asyncio.sleep(0.02)


async def told(document: dict[str, Any], host: Host) -> tuple[Pod, str]:
    """The pod after it ended by itself, and what its first container said."""
    pod = Pod(document, host)
    await pod.run()
    [first, *_] = pod.logs().values()
    return pod, first.read_text()


def mounts() -> str:
    return Path("/proc/mounts").read_text()


def python(code: str, **more: Any) -> dict[str, Any]:
    return {"args": ["-c", code], **more}


@contextmanager
def states(folder: Path, **paths: int) -> Iterator[dict[str, Any]]:
    """A volume whose files say what the server of _SERVE answers."""
    folder.mkdir()
    for path, code in paths.items():
        (folder / path).write_text(str(code))
    yield {"name": "state", "hostPath": {"path": str(folder)}}


def test_a_pod_has_an_environment_and_ends_with_its_exit_code(cluster: Cluster) -> None:
    cluster.secrets["login"] = {"password": b"hush"}
    cluster.config_maps["conf"] = {"LEVEL": b"debug"}
    code = (
        "import os, socket, sys;"
        "print(os.environ['URL'], os.environ['WHERE'], os.environ['APP'], os.environ['X_LEVEL']);"
        "print(os.environ['RABBIT_MQ_PORT_5672_TCP_ADDR'], os.getpid(), socket.gethostname());"
        "print(sys.argv[1:], socket.gethostbyname('rabbitmq'), os.getcwd());"
        "open('/dev/termination-log', 'w').write('so it is'); sys.exit(3)"
    )
    container = {
        "args": ["-c", code, "$(WHERE)", "$$(WHERE)", "$(NONE)"],
        "workingDir": "/usr/lib",
        "env": [
            {
                "name": "PASSWORD",
                "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}},
            },
            {"name": "URL", "value": "amqp://me:$(PASSWORD)@rabbitmq"},
            {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "conf"}, "prefix": "X_"}],
    }

    async def story(host: Host) -> None:
        pod, said = await told(spec(container), host)
        assert said.splitlines() == [
            "amqp://me:hush@rabbitmq node-a shop debug",
            "10.96.0.9 1 pod-1",
            "['node-a', '$(WHERE)', '$(NONE)'] 10.89.9.9 /usr/lib",
        ]
        [status] = pod.status["containerStatuses"]
        assert status["state"]["terminated"]["exitCode"] == 3
        assert status["state"]["terminated"]["message"] == "so it is"
        assert pod.phase == "Failed"

    cluster.play(story)


def test_a_container_may_do_no_more_than_it_says(cluster: Cluster) -> None:
    code = (
        "import os, re;"
        "print(os.getuid(), os.getgid(), sorted(os.getgroups()));"
        "status = open('/proc/self/status').read();"
        "print(re.findall(r'(?:CapEff|CapBnd|NoNewPrivs):\\s*(\\w+)', status));\n"
        "for place in ('/x', '/usr/x', '/data/x', '/dev/shm/x', '/memory/x'):\n"
        "    try: open(place, 'w'); print('wrote', place)\n"
        "    except OSError as error: print(place, error.strerror)\n"
    )
    context = {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("data", "memory")]
    document = spec(
        python(code, securityContext=context, volumeMounts=mounts),
        securityContext={"runAsNonRoot": True, "runAsUser": 1234, "runAsGroup": 99, "fsGroup": 77},
        volumes=[
            {"name": "data", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
        ],
    )

    async def story(host: Host) -> None:
        _, said = await told(document, host)
        nothing = "0000000000000000"
        assert said.splitlines() == [
            "1234 99 [77, 99]",
            str([nothing, nothing, "1"]).replace(nothing, nothing),
            "/x Read-only file system",
            "/usr/x Read-only file system",
            "wrote /data/x",
            "wrote /dev/shm/x",
            "wrote /memory/x",
        ]

    cluster.play(story)
    assert not Path("/data").exists()


def test_root_is_refused_where_it_says_so(cluster: Cluster) -> None:
    document = spec({"image": "rooted", "command": ["id"]}, securityContext={"runAsNonRoot": True})

    async def story(host: Host) -> None:
        async with running(document, host) as pod:
            await until(lambda: "waiting" in pod.container("c0").state)
            await until(
                lambda: (
                    pod.container("c0").state["waiting"]["reason"] == "CreateContainerConfigError"
                )
            )

    cluster.play(story)


def test_a_pod_waits_for_its_secret_and_sees_the_new_one(cluster: Cluster) -> None:
    code = (
        "import pathlib, time\n"
        "last = ''\n"
        "while True:\n"
        "    now = pathlib.Path('/keys/password').read_text()\n"
        "    if now != last: print(now, flush=True); last = now\n"
        "    time.sleep(0.02)\n"
    )
    mount = {"name": "keys", "mountPath": "/keys"}
    volume = {"name": "keys", "secret": {"secretName": "login", "defaultMode": 0o440}}

    async def story(host: Host) -> None:
        document = spec(
            python(code, volumeMounts=[mount]), volumes=[volume], securityContext={"fsGroup": 55}
        )
        async with running(document, host) as pod:
            await until(lambda: "not found" in pod.status.get("message", ""))
            assert pod.phase == "Pending"
            cluster.secrets["login"] = {"password": b"first"}
            log = pod.logs()["c0"]
            await until(lambda: log.exists() and log.read_text() == "first\n")
            cluster.secrets["login"] = {"password": b"second"}
            pod.refresh()
            await until(lambda: log.read_text() == "first\nsecond\n")

    cluster.play(story)


def test_probes_decide_what_is_ready_and_what_starts_again(cluster: Cluster) -> None:
    ask = {"periodSeconds": 0.05, "failureThreshold": 2}
    with states(cluster.folder / "state", startup=500, ready=503, live=200) as volume:
        where = cluster.folder / "state"
        container = python(
            _SERVE,
            ports=[{"name": "web", "containerPort": 8080}],
            volumeMounts=[{"name": "state", "mountPath": "/state"}],
            startupProbe={
                "httpGet": {"path": "/startup", "port": "web"},
                **ask,
                "failureThreshold": 99,
            },
            readinessProbe={
                "httpGet": {"path": "/ready", "port": 8080},
                **ask,
                "periodSeconds": 0.5,
            },
            livenessProbe={"httpGet": {"path": "/live", "port": "web"}, **ask},
        )

        async def story(host: Host) -> None:
            async with running(
                spec(container, volumes=[volume], restartPolicy="Always"), host
            ) as pod:
                first = pod.container("c0")
                await until(lambda: "running" in first.state)
                await asyncio.sleep(0.5)
                assert not first.started
                assert pod.status["conditions"][3]["status"] == "False"
                (where / "startup").write_text("200")
                await until(lambda: first.started)
                await asyncio.sleep(0.3)
                assert not first.ready
                (where / "ready").write_text("200")
                await until(lambda: first.ready)
                assert pod.status["conditions"][3]["status"] == "True"
                (where / "ready").write_text("503")
                await until(lambda: not first.ready)
                assert first.restarts == 0
                (where / "ready").write_text("200")
                await until(lambda: first.ready)
                (where / "live").write_text("500")
                await until(lambda: first.restarts == 1)
                (where / "live").write_text("200")
                await until(lambda: first.ready)
                assert first.last_state["terminated"]["exitCode"] == 7

        cluster.play(story)


def test_other_probes_and_hooks(cluster: Cluster) -> None:
    ask = {"periodSeconds": 0.05, "failureThreshold": 2}
    with states(cluster.folder / "state", x=200) as volume:
        container = python(
            _SERVE,
            volumeMounts=[{"name": "state", "mountPath": "/state"}],
            startupProbe={"tcpSocket": {"port": 8080}, **ask, "failureThreshold": 99},
            readinessProbe={"exec": {"command": ["grep", "-q", "200", "/state/x"]}, **ask},
            lifecycle={
                "preStop": {"exec": {"command": ["sh", "-c", "id -u; echo >&2 x; sleep 0.3"]}}
            },
        )

        async def story(host: Host) -> None:
            pod = Pod(spec(container, volumes=[volume]), host)
            life = asyncio.create_task(pod.run())
            await until(lambda: pod.container("c0").ready)
            (cluster.folder / "state" / "x").write_text("503")
            await until(lambda: not pod.container("c0").ready)
            loop = asyncio.get_running_loop()
            at = loop.time()
            pod.terminate(10)
            await life
            assert 0.3 <= loop.time() - at < 3
            assert pod.container("c0").state["terminated"]["exitCode"] == 7

        cluster.play(story)


def test_what_does_not_end_in_time_is_killed_with_its_children(cluster: Cluster) -> None:
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))\n"
        "os.fork()\n"
        "print('up', flush=True)\n"
        "while True:\n"
        "    time.sleep(0.05); open('/out/alive', 'w').write(str(time.time()))\n"
    )
    with states(cluster.folder / "out") as volume:
        (cluster.folder / "out").chmod(0o777)
        volume["name"] = "out"

        async def story(host: Host) -> None:
            mount = {"name": "out", "mountPath": "/out"}
            pod = Pod(spec(python(code, volumeMounts=[mount]), volumes=[volume]), host)
            life = asyncio.create_task(pod.run())
            log = pod.logs()["c0"]
            await until(lambda: log.exists() and log.read_text().count("up") == 2)
            loop = asyncio.get_running_loop()
            at = loop.time()
            pod.terminate(1)
            await life
            assert 0.9 <= loop.time() - at < 3
            assert log.read_text().count("asked") == 1
            assert pod.container("c0").state["terminated"]["exitCode"] == 137
            alive = (cluster.folder / "out" / "alive").read_text()
            await asyncio.sleep(0.3)
            assert (cluster.folder / "out" / "alive").read_text() == alive

        cluster.play(story)


def test_init_containers_come_first_and_a_sidecar_stays(cluster: Cluster) -> None:
    write = "import sys; open('/d/log', 'a').write(sys.argv[1] + ' ')"
    mount = {"volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    with states(cluster.folder / "d") as volume:
        (cluster.folder / "d").chmod(0o777)
        volume["name"] = "d"
        fails_once = (
            "import os, sys\n"
            "open('/d/log', 'a').write('try ')\n"
            "sys.exit(0 if open('/d/log').read().count('try') > 1 else 1)"
        )
        init = [
            {"name": "one", "image": "python", **python(fails_once), **mount},
            {
                "name": "side", "image": "python", "restartPolicy": "Always", **mount,
                **python("import time; open('/d/log', 'a').write('side '); time.sleep(99)"),
            },
            {"name": "two", "image": "python", "args": ["-c", write, "two"], **mount},
        ]  # fmt: skip
        main = {"args": ["-c", write, "main"], **mount}

        async def story(host: Host) -> None:
            document = spec(main, initContainers=init, volumes=[volume], restartPolicy="OnFailure")
            pod, _ = await told(
                {**document, "spec": {**document["spec"], "terminationGracePeriodSeconds": 1}}, host
            )
            said = (cluster.folder / "d" / "log").read_text().split()
            assert [word for word in said if word != "side"] == ["try", "try", "two", "main"]
            assert "side" in said
            assert pod.phase == "Succeeded"

        cluster.play(story)


def test_a_container_that_ends_is_started_again_only_where_it_should(cluster: Cluster) -> None:
    async def story(host: Host) -> None:
        async with running(
            spec(python("raise SystemExit(1)"), restartPolicy="Always"), host
        ) as pod:
            await until(lambda: pod.container("c0").restarts >= 3)
            assert pod.status["phase"] == "Running"
        pod, _said = await told(spec(python(""), restartPolicy="OnFailure"), host)
        assert (pod.phase, pod.container("c0").restarts) == ("Succeeded", 0)

    cluster.play(story)


def test_nothing_of_a_pod_is_left(cluster: Cluster) -> None:
    before = mounts()
    document = spec(
        python("import time; time.sleep(99)"),
        volumes=[{"name": "memory", "emptyDir": {"medium": "Memory"}}],
    )

    async def story(host: Host) -> None:
        async with running(document, host) as pod:
            await until(lambda: "running" in pod.container("c0").state)
            assert mounts() != before
        assert not list(host.folder.iterdir())

    cluster.play(story)
    assert mounts() == before
    assert reaper.namespaces(reaper.mark_of(cluster.folder)) == [cluster.networks.netns]

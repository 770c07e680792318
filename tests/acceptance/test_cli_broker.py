"""The command line against a running platform: topology, doctor, jobs, queues."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from laneway.broker.management import Management

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway.workloads import LocalPlatform
    from support.cli import Cli

pytestmark = pytest.mark.integration


def eventually(read: Callable[[], Any], wanted: Any, seconds: float = 60) -> None:
    """Wait until ``read()`` is ``wanted``: the broker's statistics are up to 5 s old."""
    until = time.monotonic() + seconds
    while (found := read()) != wanted:
        assert time.monotonic() < until, f"expected {wanted!r}, still: {found!r}"
        time.sleep(0.2)


def queue(cli: Cli, name: str) -> dict[str, Any]:
    listed = cli("queues", "list", "--json").json["queues"]
    return next(entry for entry in listed if entry["name"] == name)


def vhost(cli: Cli, name: str) -> dict[str, Any]:
    listed = cli("queues", "--json").json["vhosts"]
    return next(entry for entry in listed if entry["vhost"] == name)


@pytest.fixture
def paused(cli: Cli) -> Iterator[str]:
    """The queue ``low``, on which nobody works during the test, empty before and after."""
    assert cli("queues", "pause", "low").status == 0
    eventually(lambda: queue(cli, "low")["consumers"], 0)
    yield "low"
    cli("queues", "purge", "low", "--yes")
    assert cli("queues", "resume", "low").status == 0
    eventually(lambda: queue(cli, "low")["consumers"], 1)


@pytest.fixture
def management(platform: LocalPlatform) -> Iterator[Management]:
    with Management(platform.address) as client:
        yield client


# Topology and doctor


def test_nothing_is_to_be_done_on_a_fresh_platform(cli: Cli) -> None:
    answer = cli("topology", "plan")
    assert answer.status == 0
    assert "nothing to do" in answer.out
    assert cli("topology", "plan", "--json").json["is_empty"] is True


def test_drift_is_seen_by_plan_and_doctor_and_repaired_by_apply(
    cli: Cli, platform: LocalPlatform, management: Management
) -> None:
    management.delete_policy(platform.address.vhost("jobs"), "laneway.low")
    plan = cli("topology", "plan")
    assert plan.status == 1
    assert "laneway.low" in plan.out
    doctor = cli("doctor", "--json")
    drift = [check for check in doctor.json["checks"] if check["subject"] == "drift"]
    assert [check["verdict"] for check in drift] == ["warn"]
    assert doctor.status == 0, "drift is a warning"

    refused = cli("topology", "apply", stdin="n\n")
    assert refused.status == 130
    assert cli("topology", "plan").status == 1, "a no changes nothing"

    applied = cli("topology", "apply", "--yes")
    assert applied.status == 0
    assert "applied" in applied.out
    assert cli("topology", "plan").status == 0


def test_a_worker_waits_for_its_topology(cli: Cli) -> None:
    assert cli("topology", "wait").status == 0
    assert cli("topology", "wait", "--queue", "low", "--timeout", "0").status == 0
    nowhere = cli.having(LANEWAY_VHOST_PREFIX="nobody-")("topology", "wait", "--timeout", "0")
    assert nowhere.status == 3
    assert "nobody-jobs" in nowhere.err
    assert cli("topology", "wait", "--queue", "hihg").status == 4


def test_the_doctor_finds_a_running_platform_well(cli: Cli, platform: LocalPlatform) -> None:
    answer = cli("doctor")
    assert answer.status == 0, answer.out
    assert f"RabbitMQ {platform.broker_version}, profile {platform.profile.name}" in answer.out
    subjects = {check["subject"] for check in cli("doctor", "--json").json["checks"]}
    assert subjects >= {
        "policy",
        "broker",
        "vhost",
        "promise",
        "topology",
        "management",
        "alarms",
        "drift",
        "results",
        "clock",
    }


def test_the_doctor_sees_a_topology_that_was_never_applied(cli: Cli) -> None:
    answer = cli.having(LANEWAY_VHOST_PREFIX="nobody-")("doctor", "--json")
    assert answer.status == 1
    (broker,) = [check for check in answer.json["checks"] if check["subject"] == "broker"]
    assert broker["verdict"] == "fail"
    assert "topology apply" in broker["cure"]


def test_no_password_is_ever_shown(cli: Cli, platform: LocalPlatform) -> None:
    from urllib.parse import urlsplit

    said = [cli("doctor"), cli("doctor", "--json"), cli("topology", "plan"), cli("queues")]
    for url in (platform.environment["LANEWAY_BROKER_URL"], platform.result_backend):
        password = urlsplit(url).password
        for answer in said:
            assert password is None or password not in answer.out + answer.err


# Jobs


def test_a_job_is_submitted_and_its_result_read(cli: Cli) -> None:
    answer = cli("submit", "plain.add", "--args", "[1, 2]", "--json").json
    assert answer["queue"] == "default"
    result = cli("result", answer["id"], "--wait", "60", "--json")
    assert result.status == 0
    assert result.json == {"id": answer["id"], "state": "SUCCESS", "result": 3, "error": None}


def test_submit_waits_for_the_result(cli: Cli) -> None:
    answer = cli("submit", "plain.where", "--queue", "high", "--priority", "7", "--wait", "60")
    assert answer.status == 0
    assert '"priority": 7' in answer.out
    assert '"queue": "high"' in answer.out


def test_submit_with_the_application_knows_its_tasks(cli: Cli) -> None:
    answer = cli("submit", "plain.total", "--args", "[[1, 2]]", "--wait", "60", "--app", APP)
    assert (answer.status, answer.out) == (0, "3\n")


APP = "support.tasks:app"


def test_a_failed_job_ends_with_1_and_says_why(cli: Cli) -> None:
    answer = cli("submit", "plain.fail", "--kwargs", '{"text": "no funds"}', "--wait", "60")
    assert answer.status == 1
    assert "FAILURE: ValueError: no funds" in answer.out


def test_a_job_without_a_result_ends_with_6(cli: Cli, paused: str) -> None:
    answer = cli("submit", "plain.add", "--args", "[1, 2]", "--queue", paused, "--wait", "0.5")
    assert answer.status == 6
    assert cli("result", "no-such-job").status == 6


def test_a_delayed_job_is_counted_as_delayed(cli: Cli) -> None:
    before = vhost(cli, "jobs")["delayed"]
    job = cli("submit", "plain.add", "--args", "[2, 2]", "--countdown", "30").out.strip()
    eventually(lambda: vhost(cli, "jobs")["delayed"], before + 1)
    assert cli("result", job).status == 6
    assert cli("result", job, "--wait", "60").out == "4\n"


@pytest.mark.parametrize(
    ("options", "status"), [(["--queue", "hihg"], 4), (["--priority", "10"], 4)]
)
def test_a_refused_job_is_not_published(cli: Cli, options: list[str], status: int) -> None:
    answer = cli("submit", "plain.add", *options)
    assert answer.status == status
    assert answer.out == ""


# Queues


def test_the_list_shows_every_queue_and_its_worker(cli: Cli) -> None:
    answer = cli("queues")
    assert answer.status == 0
    for name in ("default", "high", "low", "secure"):
        assert name in answer.out
    assert "virtual host secure" in answer.out
    eventually(lambda: {q["consumers"] for q in cli("queues", "--json").json["queues"]}, {1})


def test_a_paused_queue_keeps_its_jobs_and_shows_their_priorities(cli: Cli, paused: str) -> None:
    jobs = [
        cli("submit", "plain.add", "--args", "[1, 1]", "--queue", paused, "--priority", p).out
        for p in ("9", "9", "2")
    ]
    found = queue(cli, paused)
    assert (found["paused"], found["ready"], found["consumers"]) == (True, 3, 0)
    eventually(lambda: queue(cli, paused)["ready_by_priority"], {"9": 2, "2": 1})
    assert "9: 2  2: 1" in cli("queues").out
    assert cli("queues", "pause", paused).out == "low was paused already\n"

    assert cli("queues", "resume", paused).out == "low is resumed\n"
    for job in jobs:
        assert cli("result", job.strip(), "--wait", "60").status == 0
    assert queue(cli, paused)["ready"] == 0
    assert cli("queues", "resume", paused).out == "low was not paused\n"
    # As the fixture expects it.
    assert cli("queues", "pause", paused).status == 0


def test_a_purge_makes_dead_letters_and_nothing_less(cli: Cli, paused: str) -> None:
    eventually(lambda: vhost(cli, "jobs")["dead_letters"] is not None, wanted=True)
    for number in range(3):
        assert cli("submit", "plain.add", "--args", f"[{number}, 1]", "--queue", paused).status == 0
    before = vhost(cli, "jobs")["dead_letters"]
    asked = cli("queues", "purge", paused, stdin="n\n")
    assert asked.status == 130
    assert queue(cli, paused)["ready"] == 3

    answer = cli("queues", "purge", paused, "--yes", "--json")
    assert answer.status == 0
    assert answer.json == {"queue": "low", "purged": 3}
    assert queue(cli, paused)["ready"] == 0
    # The control process of the platform takes them out of the inbox.
    eventually(lambda: vhost(cli, "jobs")["dead_letters"] >= before + 3, wanted=True)
    assert cli("queues", "purge", paused, "--yes").out == "0 jobs of low became dead letters\n"


def test_letters_are_made_of_what_is_there_and_then_it_ends(cli: Cli) -> None:
    answer = cli("control", "--once")
    assert (answer.status, answer.out) == (0, "")
    away = cli.having(LANEWAY_BROKER_URL="amqp://guest:guest@127.0.0.1:1")("control", "--once")
    assert away.status == 3
    assert "no connection to the virtual host" in away.err


def test_a_purge_that_would_lose_messages_is_refused(
    cli: Cli, paused: str, platform: LocalPlatform, management: Management
) -> None:
    assert cli("submit", "plain.add", "--args", "[1, 1]", "--queue", paused).status == 0
    management.delete_policy(platform.address.vhost("jobs"), "laneway.low")

    def refused() -> bool:
        answer = cli("queues", "purge", paused, "--yes")
        return answer.status == 5 and "would lose its messages" in answer.err

    def effective() -> str | None:
        """The broker tells the effective policy a moment after it has changed."""
        found = management.queue(platform.address.vhost("jobs"), paused)
        return None if found is None else found.policy

    try:
        eventually(effective, None)
        assert refused()
        assert queue(cli, paused)["ready"] == 1
    finally:
        assert cli("topology", "apply", "--yes").status == 0
        eventually(effective, "laneway.low")

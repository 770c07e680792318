"""Many jobs at once: each is accepted, or one error says of each what became of it."""

from __future__ import annotations

import json
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import kombu
import pytest
from celery import chain, group, signals

import laneway
from laneway.broker import broker_address
from laneway.local import start_rabbitmq
from support.brokers import depth, elsewhere, port_of, room_for
from support.proxy import Proxy
from support.topology import apply_policy
from support.workers import make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import TestBroker
    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.local import RunDirectory

pytestmark = pytest.mark.integration


def jobs(app: Laneway, number: int, **options: Any) -> Iterator[Any]:
    return (app.signature("plain.add", args=(i, i), **options) for i in range(number))


def drain(address: BrokerAddress, queue: str) -> list[tuple[str, int]]:
    """Ids and first arguments of the jobs in a queue, which is empty afterwards."""
    found = []
    with kombu.Connection(address.kombu_urls("jobs")) as connection:
        channel = connection.default_channel
        while message := channel.basic_get(queue, no_ack=True):
            found.append((message.headers["id"], json.loads(message.body)[0][0]))
    return found


def positions(unsettled: tuple[Any, ...]) -> list[int]:
    return [job.position for job in unsettled]


def test_every_job_is_accepted_and_lies_in_its_queue(topology: BrokerAddress) -> None:
    app = make_app(topology)
    accepted: dict[int, str] = {}
    facts: list[laneway.Fact] = []
    app.facts.listen(facts.append)
    names = ["plain.add", "plain.urgent", "vault.pay"]
    account = app.publish_many(
        (app.signature(names[i % 3], args=(i, i)) for i in range(300)),
        window=50,
        on_accepted=accepted.__setitem__,
    )
    assert account.complete
    assert account.accepted == (range(300),)
    assert account.sent_twice == 0
    assert depth(topology, "default") == depth(topology, "high") == 100
    assert depth(topology, "secure", "secure") == 100
    assert sorted(accepted) == list(range(300))
    found = drain(topology, "default")
    assert {number: id_ for id_, number in found} == {n: accepted[n] for n in range(0, 300, 3)}
    assert sorted(fact.task_id or "" for fact in facts) == sorted(accepted.values())
    assert {fact.kind for fact in facts} == {"published"}


def test_a_window_of_one(topology: BrokerAddress) -> None:
    app = make_app(topology)
    assert app.publish_many(jobs(app, 20), window=1).count == 20
    with pytest.raises(ValueError, match="window"):
        app.publish_many(jobs(app, 1), window=0)


def test_no_job_at_all(topology: BrokerAddress) -> None:
    account = make_app(topology).publish_many([])
    assert account.complete
    assert account.taken == 0


def test_an_iterable_is_read_only_as_there_is_room(topology: BrokerAddress) -> None:
    app = make_app(topology)
    confirmed, most = 0, 0

    def watched() -> Iterator[Any]:
        nonlocal most
        for number, job in enumerate(jobs(app, 2000)):
            most = max(most, number - confirmed)
            yield job

    def note(_position: int, _id: str) -> None:
        nonlocal confirmed
        confirmed += 1

    app.publish_many(watched(), window=100, on_accepted=note)
    assert most <= 200


def test_an_iterable_that_raises(topology: BrokerAddress) -> None:
    app = make_app(topology)

    def broken() -> Iterator[Any]:
        yield from jobs(app, 70)
        raise LookupError("the file ends here")

    with pytest.raises(laneway.BatchIncomplete, match="the file ends here") as caught:
        app.publish_many(broken())
    assert isinstance(caught.value.__cause__, LookupError)
    account = caught.value.account
    assert account.accepted == (range(70),)
    assert account.taken == 70
    assert not caught.value.maybe_accepted
    assert depth(topology, "default") == 70


def test_an_interrupt_leaves_no_late_confirm_behind(topology: BrokerAddress) -> None:
    app = make_app(topology)

    def interrupted() -> Iterator[Any]:
        yield from jobs(app, 500)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        app.publish_many(interrupted(), window=1000)
    with app.publisher("jobs").producer() as producer:
        assert not producer.__connection__.connected
    assert app.publish_many(jobs(app, 10)).count == 10


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"queue": "hgih"}, laneway.UnknownQueue),
        ({"priority": 11}, laneway.InvalidPriority),
        ({"args": (object(),)}, laneway.ArgumentsNotSerializable),
        ({"args": ("x" * 1_100_000,)}, laneway.MessageTooLarge),
        ({"countdown": 2**40}, laneway.OptionRefused),
    ],
)
def test_a_wrong_signature_ends_it_there(
    topology: BrokerAddress, wrong: dict[str, Any], error: type[Exception]
) -> None:
    app = make_app(topology)
    looked_at = 0

    def some() -> Iterator[Any]:
        nonlocal looked_at
        for job in [*jobs(app, 5), app.signature("plain.add", **wrong), *jobs(app, 5)]:
            looked_at += 1
            yield job

    with pytest.raises(laneway.BatchIncomplete) as caught:
        app.publish_many(some())
    account = caught.value.account
    [refused] = account.refused
    assert isinstance(refused.error, error)
    assert isinstance(caught.value.__cause__, error)
    assert refused.position == 5
    assert refused.task_id
    assert account.accepted == (range(5),)
    assert (account.taken, looked_at) == (6, 6)
    assert depth(topology, "default") == 5


def test_what_is_no_signature_of_one_job_is_refused(topology: BrokerAddress) -> None:
    app = make_app(topology)
    for wrong in ("plain.add", group(list(jobs(app, 2)), app=app)):
        with pytest.raises(laneway.BatchIncomplete) as caught:
            app.publish_many([wrong])
        assert isinstance(caught.value.__cause__, laneway.OptionRefused)
    assert depth(topology, "default") == 0


def test_a_returned_message_is_the_job_that_caused_it(topology: BrokerAddress) -> None:
    app = make_app(topology)
    some = [app.signature("plain.add", args=(i, 0), queue="low" if i % 7 == 3 else None)
            for i in range(40)]  # fmt: skip
    with kombu.Connection(topology.kombu_urls("jobs")) as connection:
        channel = connection.default_channel
        for key in ("low", "#.low"):
            channel.queue_unbind("low", "jobs", key)
        try:
            with pytest.raises(laneway.BatchIncomplete) as caught:
                app.publish_many(some)
        finally:
            for key in ("low", "#.low"):
                channel.queue_bind("low", "jobs", key)
    account = caught.value.account
    assert all(isinstance(job.error, laneway.Unroutable) for job in account.refused)
    expected = [i for i in range(account.taken) if i % 7 == 3]
    assert positions(account.refused) == expected
    accepted = {position for one in account.accepted for position in one}
    assert accepted == set(range(account.taken)) - set(expected)
    assert {number for _, number in drain(topology, "default")} == accepted
    assert not account.maybe_accepted


def test_a_full_queue_refuses_the_jobs_that_it_does_not_take(topology: BrokerAddress) -> None:
    app = make_app(topology)
    accepted: dict[int, str] = {}
    with room_for(topology, "low", 20), pytest.raises(laneway.BatchIncomplete) as caught:
        app.publish_many(
            (app.signature("plain.add", args=(i, i), queue="low") for i in count()),
            window=50,
            on_accepted=accepted.__setitem__,
        )
    account = caught.value.account
    assert isinstance(caught.value.__cause__, laneway.QueueFull)
    assert all(isinstance(job.error, laneway.QueueFull) for job in account.refused)
    assert account.count == len(accepted) >= 20
    assert account.count + len(account.refused) == account.taken
    assert sorted(drain(topology, "low")) == sorted((accepted[n], n) for n in accepted)


def test_a_connection_that_is_cut(topology: BrokerAddress) -> None:
    with Proxy("127.0.0.1", port_of(topology)) as proxy:
        app = make_app(elsewhere(topology, port=proxy.port))
        accepted: dict[int, str] = {}

        def some() -> Iterator[Any]:
            for number, job in enumerate(jobs(app, 600)):
                if number in {200, 400}:
                    proxy.cut()
                yield job

        account = app.publish_many(some(), window=60, on_accepted=accepted.__setitem__)
        app.close()
    assert account.complete
    assert 0 < account.sent_twice <= 2 * 75
    found = drain(topology, "default")
    assert {number: id_ for id_, number in found} == accepted
    assert len(accepted) == 600
    assert 600 <= len(found) <= 600 + account.sent_twice


def test_a_broker_that_falls_silent(topology: BrokerAddress) -> None:
    with Proxy("127.0.0.1", port_of(topology)) as proxy:
        app = make_app(elsewhere(topology, port=proxy.port), publish_deadline=1.0)
        accepted: list[int] = []

        def some() -> Iterator[Any]:
            for number, job in enumerate(jobs(app, 500)):
                if number == 100:
                    proxy.silent.set()
                yield job

        with pytest.raises(laneway.BatchIncomplete) as caught:
            app.publish_many(some(), window=40, on_accepted=lambda n, _: accepted.append(n))
        account = caught.value.account
        assert isinstance(caught.value.__cause__, laneway.PublishTimeout)
        assert caught.value.maybe_accepted
        assert account.count == len(accepted)
        everything = [
            *accepted, *positions(account.maybe_accepted), *positions(account.unsent),
        ]  # fmt: skip
        assert sorted(everything) == list(range(account.taken))
        assert account.maybe_accepted
        assert all(job.task_id for job in account.maybe_accepted)
        # The connection was dropped: a late confirm is taken for no other job's.
        proxy.silent.clear()
        assert app.publish_many(jobs(app, 10)).count == 10
        app.close()


def test_a_broker_that_is_killed(run_directory: RunDirectory) -> None:
    # A broker of the test's own, which does not come back.
    with start_rabbitmq(run_directory, series="3.10") as server:
        address = broker_address(server.url, server.management_url, vhost_prefix="", env={})
        apply_policy(address)
        app = make_app(address, publish_deadline=2.0)
        accepted: list[int] = []

        def some() -> Iterator[Any]:
            for number, job in enumerate(jobs(app, 5000)):
                if number == 1000:
                    server.stop()
                yield job

        with pytest.raises(laneway.BatchIncomplete) as caught:
            app.publish_many(some(), window=100, on_accepted=lambda n, _: accepted.append(n))
        account = caught.value.account
        assert isinstance(caught.value.__cause__, laneway.PublishError)
        everything = [
            *accepted, *positions(account.maybe_accepted), *positions(account.unsent),
        ]  # fmt: skip
        assert sorted(everything) == list(range(account.taken))
        assert 500 <= account.count <= 1100
        app.close()


def test_a_broker_that_crashes_and_comes_back(
    broker: TestBroker, run_directory: RunDirectory
) -> None:
    with start_rabbitmq(
        run_directory, series="4.3" if broker.profile.name == "4.3" else "3.10"
    ) as server:
        address = broker_address(server.url, server.management_url, vhost_prefix="", env={})
        apply_policy(address)
        app = make_app(address, publish_deadline=90)
        accepted: dict[int, str] = {}

        def some() -> Iterator[Any]:
            for number, job in enumerate(jobs(app, 2000)):
                if number == 1000:
                    server.restart(crash=True)
                yield job

        account = app.publish_many(some(), window=100, on_accepted=accepted.__setitem__)
        assert account.complete
        assert 0 < account.sent_twice <= 125
        found = drain(address, "default")
        assert {number: id_ for id_, number in found} == accepted
        assert 2000 == len(accepted) <= len(found) <= 2000 + account.sent_twice
        app.close()


def test_an_alarm_holds_a_batch_up_and_lets_it_go_on(run_directory: RunDirectory) -> None:
    with start_rabbitmq(run_directory, series="3.10") as server:
        address = broker_address(server.url, server.management_url, vhost_prefix="", env={})
        apply_policy(address)
        app = make_app(address, publish_deadline=1.5)
        app.send_task("plain.add")
        server.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        until = time.monotonic() + 30
        # The alarm comes a moment after the command.
        with pytest.raises(laneway.BatchIncomplete) as caught:  # noqa: PT012
            while time.monotonic() < until:
                app.publish_many(jobs(app, 50))
        assert isinstance(caught.value.__cause__, laneway.BrokerBlocked)
        patient = make_app(address, publish_deadline=60)
        release = threading.Timer(
            1.0, server.ctl, ("set_vm_memory_high_watermark", "absolute", "1GB")
        )
        release.start()
        assert patient.publish_many(jobs(patient, 50)).count == 50
        release.join()
        app.close()
        patient.close()


# with app.batch()


def test_calls_in_a_block_return_at_once_and_are_accepted_at_its_end(
    topology: BrokerAddress,
) -> None:
    app = make_app(topology)
    with app.batch() as batch:
        results = [app.send_task("plain.add", (i, i)) for i in range(100)]
        results.append(app.send_task("vault.pay", (1,)))
    assert batch.account.accepted == (range(101),)
    assert len({result.id for result in results}) == 101
    assert {id_ for id_, _ in drain(topology, "default")} == {r.id for r in results[:100]}
    assert depth(topology, "secure", "secure") == 1
    # Outside of the block a call waits again.
    app.send_task("plain.add")
    assert depth(topology, "default") == 1


def test_what_is_out_of_the_ordinary_goes_with_the_batch(topology: BrokerAddress) -> None:
    app = make_app(topology)
    heard: list[str] = []

    def listen(sender: str, **_: Any) -> None:
        heard.append(sender)

    with app.batch() as batch:
        app.send_task("plain.add", (1, 1), link=app.signature("plain.total"))
        app.send_task("plain.add", (2, 2), countdown=3600)
        app.send_task("plain.add", (3, 3), headers={"tenant": "t"})
        chain(app.signature("plain.add", (4, 4)), app.signature("plain.add", (1,)), app=app)()
        group(list(jobs(app, 3)), app=app).apply_async()
        signals.before_task_publish.connect(listen)
        try:
            app.send_task("plain.add", (5, 5))
        finally:
            signals.before_task_publish.disconnect(listen)
    assert batch.account.count == 8
    assert heard == ["plain.add"]
    assert sorted(number for _, number in drain(topology, "default")) == [0, 1, 1, 2, 3, 4, 5]


def test_an_exception_in_the_block_takes_nothing_back(topology: BrokerAddress) -> None:
    app = make_app(topology)
    with pytest.raises(LookupError), app.batch() as batch:  # noqa: PT012
        for number in range(5):
            app.send_task("plain.add", (number, 0))
        raise LookupError
    assert batch.account.count == 5
    assert depth(topology, "default") == 5


def test_a_wrong_call_in_the_block_can_be_caught(topology: BrokerAddress) -> None:
    app = make_app(topology)
    with app.batch() as batch:
        app.send_task("plain.add")
        with pytest.raises(laneway.UnknownQueue):
            app.send_task("plain.add", queue="hgih")
        app.send_task("plain.add")
    assert batch.account.accepted == (range(2),)
    assert depth(topology, "default") == 2


def test_a_refused_job_ends_the_block(topology: BrokerAddress) -> None:
    app = make_app(topology)
    calls = 0
    with room_for(topology, "low", 5), pytest.raises(laneway.BatchIncomplete) as caught:  # noqa: PT012, SIM117
        with app.batch(window=10):
            for calls in range(100_000):  # noqa: B007
                app.send_task("plain.add", queue="low")
    assert calls < 1000
    assert isinstance(caught.value.__cause__, laneway.QueueFull)
    account = caught.value.account
    assert account.count == depth(topology, "low")
    assert account.count + len(account.refused) == account.taken


def test_what_a_listener_publishes_is_no_job_of_the_batch(topology: BrokerAddress) -> None:
    app = make_app(topology)

    def answer(position: int, _id: str) -> None:
        if position % 10 == 0:
            app.send_task("plain.add", (position,), queue="low")

    with app.batch(window=20, on_accepted=answer) as batch:
        for job in jobs(app, 100):
            job.apply_async()
    assert batch.account.accepted == (range(100),)
    assert depth(topology, "default") == 100
    assert sorted(n for _, n in drain(topology, "low")) == list(range(0, 100, 10))


def test_a_batch_that_has_ended_takes_no_more(topology: BrokerAddress) -> None:
    app = make_app(topology)
    with room_for(topology, "low", 5), pytest.raises(laneway.BatchIncomplete):  # noqa: PT012, SIM117
        with app.batch(window=10) as batch:
            with pytest.raises(laneway.BatchIncomplete):  # noqa: PT012
                for _ in range(100_000):
                    app.send_task("plain.add", queue="low")
            taken = batch.account.taken
            with pytest.raises(laneway.BatchIncomplete):
                app.send_task("plain.add")
            assert batch.account.taken == taken
    assert depth(topology, "default") == 0


def test_another_thread_is_not_in_the_batch(topology: BrokerAddress) -> None:
    import contextvars

    app = make_app(topology)
    with app.batch() as batch:
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(app.send_task, "plain.add"))
        thread.start()
        thread.join()
        assert depth(topology, "default") == 1
    assert batch.account.taken == 0


def test_threads_have_batches_of_their_own(topology: BrokerAddress) -> None:
    app = make_app(topology)
    counts: list[int] = []

    def publish() -> None:
        counts.append(app.publish_many(jobs(app, 300), window=37).count)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [300] * 4
    assert depth(topology, "default") == 1200


def test_a_batch_leaves_its_connection_as_it_was(topology: BrokerAddress) -> None:
    app = make_app(topology)
    for _ in range(3):
        app.publish_many(jobs(app, 10, headers={"tenant": "celery's own way"}))
        app.send_task("plain.add")
        app.send_task("plain.add", headers={"tenant": "celery's own way"})
    app.send_task("plain.add", queue="low")
    assert depth(topology, "default") == 36


def test_batches_and_single_calls_take_turns_on_one_connection(topology: BrokerAddress) -> None:
    app = make_app(topology)
    channels = set()
    for turn in range(12):
        # Of few jobs, so that each has a confirm of its own.
        assert app.publish_many(jobs(app, turn % 3 + 1)).complete
        app.send_task("plain.add")
        app.send_task("plain.add", headers={"tenant": "celery's own way"})
        with app.publisher("jobs").producer() as producer:
            channels.add(producer.channel)
    assert depth(topology, "default") == 12 * 2 + 4 * (1 + 2 + 3)
    # No confirm was missed, so that the connection had to be made again.
    assert len(channels) == 1


def test_tasks_that_run_eagerly_do_so_here_too(topology: BrokerAddress) -> None:
    app = make_app(topology)
    ran: list[int] = []

    def note(number: int) -> None:
        ran.append(number)

    task = app.task(name="plain.note", shared=False)(note)
    app.conf.task_always_eager = True
    assert app.publish_many(task.s(i) for i in range(3)).count == 3
    assert ran == [0, 1, 2]

"""An asyncio service publishes without blocking its loop; so does one of gevent, and a fork."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import laneway
from support.brokers import depth, elsewhere, port_of
from support.proxy import Proxy
from support.workers import environment, make_app

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress

pytestmark = pytest.mark.integration

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="none")


def test_a_task_its_name_or_a_signature(topology: BrokerAddress) -> None:
    app = make_app(topology)

    def nothing(*_: Any) -> None:
        """The body of a task."""

    task = app.task(name="plain.add", shared=False, typing=False)(nothing)

    async def service() -> list[str]:
        results = [
            await app.asend(task, (1, 2), queue="low"),
            await app.asend("plain.add", (1, 2), priority=9),
            await app.asend(task.s(1, 2), task_id="mine"),
        ]
        return [result.id for result in results]

    ids = asyncio.run(service())
    assert ids[2] == "mine"
    assert len(set(ids)) == 3
    assert (depth(topology, "low"), depth(topology, "default")) == (1, 2)


def test_many_at_once_and_their_errors(topology: BrokerAddress) -> None:
    app = make_app(topology)

    async def service() -> list[Any]:
        calls = [app.asend("plain.add", (i, i)) for i in range(100)]
        return await asyncio.gather(*calls, app.asend("x", queue="hgih"), return_exceptions=True)

    *results, error = asyncio.run(service())
    assert isinstance(error, laneway.UnknownQueue)
    assert len({result.id for result in results}) == 100
    assert depth(topology, "default") == 100
    with pytest.raises(TypeError, match="a task, its name or a signature"):
        asyncio.run(app.asend(7))


def test_the_loop_goes_on_while_the_broker_is_silent(topology: BrokerAddress) -> None:
    with Proxy("127.0.0.1", port_of(topology)) as proxy:
        app = make_app(elsewhere(topology, port=proxy.port), publish_deadline=2.0)
        app.send_task("plain.add")
        proxy.silent.set()

        async def service() -> int:
            call = asyncio.create_task(app.asend("plain.add"))
            turns = 0
            while not call.done():
                await asyncio.sleep(0.01)
                turns += 1
            with pytest.raises(laneway.PublishTimeout):
                await call
            return turns

        assert asyncio.run(service()) > 10
        app.close()


def test_the_callers_context_goes_along(topology: BrokerAddress) -> None:
    app = make_app(topology)
    seen: list[str] = []
    app.facts.listen(lambda _: seen.append(tenant.get()))

    async def service() -> None:
        tenant.set("t7")
        await app.asend("plain.add")

    asyncio.run(service())
    assert seen == ["t7"]


def test_a_cancelled_call_that_has_begun_goes_on_to_its_end(topology: BrokerAddress) -> None:
    app = make_app(topology)
    begun, go_on = threading.Event(), threading.Event()
    send_task = app.send_task

    def held_up(*args: Any, **options: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return send_task(*args, **options)

    app.send_task = held_up  # type: ignore[method-assign]

    async def service() -> None:
        call = asyncio.create_task(app.asend("plain.add"))
        assert await asyncio.to_thread(begun.wait, 60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(service())
    go_on.set()
    # Waits for the calls under way.
    app._aside.close()
    assert depth(topology, "default") == 1


def test_a_forked_child_sends_with_threads_of_its_own(topology: BrokerAddress) -> None:
    app = make_app(topology)
    asyncio.run(app.asend("plain.add"))
    # Threads do not survive a fork; Python 3.12 warns of forking beside some.
    app._aside.close()
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(app.asend("plain.add"))
            app.publish_many(app.signature("plain.add", args=(i, i)) for i in range(10))
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    asyncio.run(app.asend("plain.add"))
    assert depth(topology, "default") == 13


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import gevent
from laneway import Laneway

app = Laneway("green", set_as_current=False)
turns = 0

def count():
    global turns
    while True:
        turns += 1
        gevent.sleep(0.001)

counter = gevent.spawn(count)
calls = [gevent.spawn(app.send_task, "plain.add", (i, i)) for i in range(60)]
gevent.joinall(calls, raise_error=True)
assert len({call.value.id for call in calls}) == 60
batches = [
    gevent.spawn(app.publish_many, [app.signature("plain.add", args=(i, i)) for i in range(50)])
    for _ in range(3)
]
gevent.joinall(batches, raise_error=True)
assert [batch.value.count for batch in batches] == [50] * 3
assert turns > 5, turns
# A timeout of gevent's is no Exception: the confirm that still comes is taken for nobody else's.
try:
    with gevent.Timeout(0.0001):
        while True:
            app.send_task("plain.add", queue="low")
except gevent.Timeout:
    pass
app.send_task("plain.add", queue="low")
counter.kill()
print("done")
"""


def test_greenlets_publish_side_by_side(topology: BrokerAddress) -> None:
    pytest.importorskip("gevent")
    done = subprocess.run(
        [sys.executable, "-c", GREENLETS],
        env=environment(topology, "disabled://"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "done\n", done.stderr
    assert depth(topology, "default") == 210
    assert depth(topology, "low") >= 1

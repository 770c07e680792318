"""What the direct pool relies on in Celery, billiard and py-amqp, beside what they document."""

from __future__ import annotations

import contextlib
import inspect
import socket
import time

import amqp
import kombu
import pytest
from amqp import spec
from amqp.channel import Channel
from amqp.transport import SSLTransport, TCPTransport
from billiard.context import ForkProcess
from billiard.pool import Pool
from celery.app import trace
from celery.concurrency import base, prefork
from celery.worker import components, control, pidbox, request, state
from celery.worker.consumer import control as control_step

from laneway.worker.direct import DirectPool
from laneway.worker.direct.aftermath import Aftermath
from laneway.worker.direct.commands import COMMANDS
from laneway.worker.direct.process import try_each_member


def source(what: object) -> str:
    return inspect.getsource(what)  # type: ignore[arg-type]


def test_methods_are_sent_without_waiting_for_an_answer() -> None:
    parameters = inspect.signature(Channel.send_method).parameters
    assert list(parameters)[1:4] == ["sig", "format", "args"]
    assert parameters["wait"].default is None
    qos, consume, cancel = map(
        source, (Channel.basic_qos, Channel.basic_consume, Channel.basic_cancel)
    )
    assert "argsig='lBb'" in qos
    assert "argsig='BssbbbbF'" in consume
    assert "'sb'" in cancel or "argsig='sb'" in cancel
    assert spec.Basic.Qos == (60, 10)
    assert spec.Basic.Consume == (60, 20)
    assert spec.Basic.Cancel == (60, 30)


def test_frames_that_py_amqp_is_to_understand_are_handed_to_it() -> None:
    assert "self.on_inbound_frame(frame)" in source(amqp.Connection.blocking_read)
    assert "frame_type, channel, payload" in source(TCPTransport.read_frame)


def test_a_connection_tells_its_socket_and_its_largest_frame() -> None:
    connection = amqp.Connection()
    assert connection.frame_max == 131_072
    assert isinstance(amqp.Connection.transport, property)
    assert "settimeout(None)" in source(TCPTransport.__mro__[1]), "reading must not wait by itself"
    assert hasattr(SSLTransport, "_wrap_socket"), "only TLS sockets have pending()"


def test_a_child_is_set_up_like_one_of_prefork() -> None:
    assert list(inspect.signature(prefork.process_initializer).parameters) == ["app", "hostname"]
    text = source(prefork.process_initializer)
    for part in (
        "set_pdeathsig",
        "worker_process_init.send",
        "_set_task_join_will_block(True)",
        "task.__trace__ = build_tracer(",
    ):
        assert part in text


def test_the_tracer_says_what_became_of_a_job() -> None:
    assert trace.trace_ok_t._fields == ("retval", "info", "runtime", "retstr")
    assert {"state", "retval"} <= set(trace.TraceInfo.__slots__)


def test_a_request_settles_through_what_it_was_given() -> None:
    parameters = inspect.signature(request.Request.__init__).parameters
    assert {"message", "on_ack", "on_reject", "app", "hostname", "task", "decoded"} <= set(
        parameters
    )
    assert "self._on_reject(logger, self._connection_errors, requeue)" in source(
        request.Request.reject
    )
    assert "self._on_ack(logger, self._connection_errors)" in source(request.Request.acknowledge)
    terminate = source(request.Request.terminate)
    assert "pool.terminate_job(self.worker_pid, signal)" in terminate
    assert hasattr(Aftermath, "terminate_job")
    assert "self._announce_revoked('terminated'" in terminate


def test_the_pools_hooks_are_celerys() -> None:
    for hook in ("on_start", "on_stop", "on_terminate", "_get_info"):
        assert hook in vars(base.BasePool)
        assert hook in vars(DirectPool)
    text = source(components.Pool.create)
    for option in ("initargs=(w.app, w.hostname)", "maxtasksperchild=", "max_memory_per_child="):
        assert option in text


def test_a_cold_shutdown_is_known_by_its_mark() -> None:
    assert state.should_terminate is None
    from celery.apps import worker

    text = source(worker.on_cold_shutdown)
    assert text.index("state.should_terminate = True") < text.index("worker.consumer.pool.stop()")


def test_celerys_commands_have_the_names_that_are_answered_here() -> None:
    assert set(COMMANDS) <= set(control.Panel.data)
    assert "handlers=control.Panel.data" in source(pidbox.Pidbox.__init__)
    assert "self.box = " in source(control_step.Control.__init__)
    # Whoever looks into the parent's own lists must be answered here.
    lists = ("active_requests", "reserved_requests", "requests")
    looking = {
        name
        for name, handler in control.Panel.data.items()
        if any(f"worker_state.{one}" in source(handler) for one in lists)
    }
    assert looking - set(COMMANDS) <= {"memsample", "memdump"}


def test_prefork_numbers_its_processes() -> None:
    assert "w.index = i" in source(Pool._create_worker_process)
    assert ForkProcess._start_method == "fork"


def test_a_round_of_tries_asks_each_member_of_a_cluster_once() -> None:
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        urls = [f"pyamqp://127.0.0.1:{member.getsockname()[1]}" for member in members]
        connection = kombu.Connection(";".join(urls), connect_timeout=0.1)
        began = time.monotonic()
        with pytest.raises(OSError, match="timed out"):
            try_each_member(connection)
        # (No pause of kombu's, which is two seconds.)
        assert time.monotonic() - began < 1.5
        for member in members:
            member.setblocking(False)
            member.accept()[0].close()
            with pytest.raises(BlockingIOError):
                member.accept()

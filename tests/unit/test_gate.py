"""The gate: what a message may be, row by row, and that nothing gets past it by being odd."""

from __future__ import annotations

import bz2
import json
import lzma
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from celery.app.task import Context
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.worker.gate import HandBack, Limits, Quarantine, Run, Verdict, examine
from laneway.worker.gate import headers as known_headers

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS = {"shop.buy"}
PROPERTIES = {
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "delivery_mode": 2,
    "priority": 4,
    "correlation_id": "7a2c",
    "reply_to": "",
}
HEADERS: dict[str, Any] = {
    "lang": "py",
    "task": "shop.buy",
    "id": "7a2c",
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "root_id": "7a2c",
    "parent_id": None,
    "argsrepr": "(1,)",
    "kwargsrepr": "{}",
    "origin": "gen1@host",
    "ignore_result": False,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
    "laneway_queue": "default",
    "laneway_ready_at": 1_700_000_000.5,
}
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
BODY = json.dumps([[1], {"of": "it"}, EMBED]).encode() + b" " * 200
SIGNATURE: dict[str, Any] = {
    "task": "shop.buy",
    "args": [],
    "kwargs": {},
    "options": {},
    "subtask_type": None,
}
_MISSING = object()


def look(body: bytes = BODY, limits: Limits | None = None, /, **changes: Any) -> Verdict:
    changed = {**HEADERS, **changes}
    headers = {name: value for name, value in changed.items() if value is not _MISSING}
    return examine(PROPERTIES, headers, body, tasks=TASKS, limits=limits or Limits())


def body_of(*parts: Any) -> bytes:
    return json.dumps(parts).encode()


def test_a_job_runs() -> None:
    assert look() == Run([1], {"of": "it"}, EMBED, BODY)


def test_a_job_of_another_producer_runs() -> None:
    headers = {"task": "shop.buy", "id": "1"}
    verdict = examine({"content_type": "application/json"}, headers, b"[[], {}, null]", tasks=TASKS)
    assert verdict == Run([], {}, {}, b"[[], {}, null]")


@pytest.mark.parametrize(
    "changes",
    [
        {"retries": 3, "laneway_failed_at": 1_700_000_000, "root_id": "another", "parent_id": "p"},
        {"timelimit": [3, 2.5]},
        {"timelimit": None, "retries": None, "root_id": None},
        {"eta": "2031-01-01T00:00:00+00:00", "expires": "2031-01-01T00:00:00.5"},
        {"shadow": "ein schöner Name", "ignore_result": 1},
        {"stamped_headers": ["tenant"], "stamps": {"tenant": ["a", "b"]}},
        {"headers": {"sentry-trace": "x"}, "baggage": "y", "sentry-enqueued": 1.5},
        {"x-death": [{"queue": "celery_delayed_1", "time": datetime.now(UTC)}]},
        {"x-delivery-count": 2, "tenant": b"\xff", "price": Decimal("1.5"), "laneway_replays": 1},
        {"id": "ü" * 127, "root_id": None},
    ],
)
def test_what_jobs_may_have(changes: dict[str, Any]) -> None:
    assert isinstance(look(**changes), Run)


HUGE = "x" * 256
WRONG_HEADERS: dict[str, list[Any]] = {
    "task": [7, None, b"shop.buy", ["shop.buy"], {}],
    "id": [_MISSING, None, "", 7, ["x"], HUGE, "a\nb", "a\x00", "\udc80", "ü" * 128, b"x"],
    "root_id": [7, HUGE, "a\nb", []],
    "parent_id": [7, HUGE, "\x1b[2J"],
    "group": [7, HUGE, {}],
    "group_index": ["1", 1.5, True],
    "retries": [-1, 1.0, "1", True, 2**31, []],
    "timelimit": [
        "x",
        5,
        {},
        [1],
        [1, 2, 3],
        ["1", None],
        [-1, None],
        [None, float("nan")],
        [float("inf"), None],
        [True, None],
        [1e12, None],
    ],
    "eta": [
        "soon",
        "",
        77,
        1.5,
        datetime.now(UTC),
        "9999-12-31T23:59:59-14:00",
        "2031-01-01T00:00:00+00:00:30",
    ],
    "expires": ["soon", 3.5, b"2031-01-01", "0001-01-01T00:00:00+14:00", []],
    "lang": [1, []],
    "argsrepr": [b"\xff", 1, {}],
    "kwargsrepr": [[], 1],
    "origin": [1],
    "shadow": [1, HUGE, "a\rb"],
    "ignore_result": ["yes", []],
    "replaced_task_nesting": ["1", True],
    "stamped_headers": ["tenant", [7], {}],
    "stamps": [[], "x", {"exchange": {}}, {"task": 1}, {7: 1}, {"get": 1}],
    "headers": ["x", []],
    "compression": [7, "rot13", "brotli", "zstd"],
    "laneway_ready_at": ["now", float("nan"), float("inf"), 1e12, True],
    "laneway_failed_at": ["now", float("nan"), -1e12],
    "laneway_queue": [7],
    "laneway_replays": ["1", 1.5],
    "laneway_unknown": ["1", 1.5],
    "args": [[]],
    "delivery_info": [{}],
    "update": ["x"],
    "_children": [5],
    "__class__": ["x"],
    "chord": [{}],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG_HEADERS.items() for value in values]
)
def test_what_headers_may_not_be(name: str, value: Any) -> None:
    verdict = look(**{name: value})
    assert isinstance(verdict, Quarantine)
    assert len(verdict.reason) < 400
    assert verdict.reason.isprintable()


def test_a_header_without_a_name_in_words() -> None:
    headers: dict[Any, Any] = {**HEADERS, b"\xff": 1}
    assert isinstance(examine(PROPERTIES, headers, BODY, tasks=TASKS), Quarantine)


def test_no_attribute_of_a_request_can_be_taken() -> None:
    allowed = {"taskset", "utc"} | known_headers._TYPES.keys()
    for name in set(dir(Context)) - allowed:
        assert isinstance(look(**{name: "x"}), Quarantine), name


def test_a_shape_that_passed_says_nothing_of_the_values() -> None:
    assert isinstance(look(tenant={"a": 1}), Run)
    deep: Any = 1
    for _ in range(300):
        deep = {"a": deep}
    assert isinstance(look(tenant=deep), Quarantine)
    assert isinstance(look(retries=1), Run)
    assert isinstance(look(retries=-1), Quarantine)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("BodyUnreadable", b""),
        ("BodyUnreadable", b"\xff\xfe"),
        ("BodyUnreadable", b"[[1], {}, {}"),
        ("BodyUnreadable", b"[" * 100_000 + b"]" * 100_000),
        ("BodyUnreadable", b"[[" + b"9" * 10_000 + b"], {}, {}]"),
        ("BodyUnreadable", body_of([{"__type__": "uuid", "__value__": 5}], {}, EMBED)),
        ("BodyUnreadable", body_of([{"__type__": "eval", "__value__": "1"}], {}, EMBED)),
        ("BodyRefused", b"{}"),
        ("BodyRefused", b"null"),
        ("BodyRefused", b'"[[], {}, {}]"'),
        ("BodyRefused", body_of([], {})),
        ("BodyRefused", body_of([], {}, {}, {})),
        ("BodyRefused", body_of({}, {}, {})),
        ("BodyRefused", body_of([], [], {})),
        ("BodyRefused", body_of([], {}, [])),
        ("BodyRefused", body_of([], {}, {"id": "another"})),
        ("BodyRefused", body_of([], {}, {"callbacks": {}})),
        ("BodyRefused", body_of([], {}, {"callbacks": ["shop.buy"]})),
        ("BodyRefused", body_of([], {}, {"errbacks": [{"args": []}]})),
        ("BodyRefused", body_of([], {}, {"chain": [{**SIGNATURE, "options": []}]})),
        ("BodyRefused", body_of([], {}, {"chord": [SIGNATURE]})),
        ("BodyRefused", b"[[" + b"[" * 300 + b"]" * 300 + b"], {}, {}]"),
        ("BodyRefused", b"[[" + b'{"a":' * 300 + b"1" + b"}" * 300 + b"], {}, {}]"),
        ("BodyTooLarge", b"[[" + b" " * 2_000 + b"], {}, {}]"),
    ],
)
def test_what_bodies_may_not_be(kind: str, body: bytes) -> None:
    limits = Limits(body_bytes=1_000) if kind == "BodyTooLarge" else Limits()
    verdict = look(body, limits)
    assert isinstance(verdict, Quarantine)
    assert verdict.kind == kind


def test_a_canvas_runs() -> None:
    embed = {**EMBED, "callbacks": [SIGNATURE], "chain": [SIGNATURE] * 3, "chord": SIGNATURE}
    assert isinstance(look(body_of([], {}, embed)), Run)


def test_typed_values_are_kombus() -> None:
    moment = {"__type__": "datetime", "__value__": "2031-01-01T00:00:00"}
    verdict = look(body_of([moment], {}, EMBED))
    assert isinstance(verdict, Run)
    assert verdict.args == [datetime(2031, 1, 1)]  # noqa: DTZ001 (it was naive)


@pytest.mark.parametrize(
    "change",
    [
        {"content_type": None},
        {"content_type": "application/x-python-serialize"},
        {"content_type": "application/x-yaml"},
        {"content_type": "application/data"},
        {"content_type": "application/text"},
        {"content_encoding": "binary"},
        {"content_encoding": "utf-16"},
    ],
)
def test_only_json_in_utf_8(change: dict[str, Any]) -> None:
    verdict = examine({**PROPERTIES, **change}, HEADERS, BODY, tasks=TASKS)
    assert isinstance(verdict, Quarantine)
    assert verdict.kind == "ContentRefused"


def test_properties_that_could_not_be_decoded() -> None:
    verdict = examine(None, None, BODY, tasks=TASKS)
    assert isinstance(verdict, Quarantine)
    assert verdict.kind == "PropertiesUnreadable"


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": zlib.compress,
    "application/x-bz2": bz2.compress,
    "application/x-lzma": lzma.compress,
}


@pytest.mark.parametrize("kind", COMPRESS)
def test_compressed_bodies(kind: str) -> None:
    compressed = COMPRESS[kind](BODY)
    exactly = Limits(body_bytes=len(BODY))
    assert look(compressed, exactly, compression=kind) == Run([1], {"of": "it"}, EMBED, BODY)
    too_little = Limits(body_bytes=max(len(BODY) - 1, len(compressed)))
    if too_little.body_bytes < len(BODY):
        assert isinstance(look(compressed, too_little, compression=kind), Quarantine)
    bomb = COMPRESS[kind](b"[[" + b" " * 10_000_000 + b"], {}, {}]")
    for wrong in (bomb, compressed[:-3], compressed + b"more", BODY, b""):
        verdict = look(wrong, Limits(body_bytes=100_000), compression=kind)
        assert isinstance(verdict, Quarantine)
        assert verdict.kind == "ContentRefused"


def test_an_unknown_task_comes_again_later_and_later() -> None:
    limits, waits = Limits(unknown_task_grace=20), list[int]()
    verdict = look(BODY, limits, task="shop.sell")
    while isinstance(verdict, HandBack) and len(waits) < 50:
        waits.append(verdict.seconds)
        verdict = look(BODY, limits, task="shop.sell", laneway_unknown=verdict.times)
    assert waits == [1, 2, 4, 8]
    assert isinstance(verdict, Quarantine)
    assert verdict.kind == "UnknownTask"
    assert "'shop.sell'" in verdict.reason


@pytest.mark.parametrize("forged", [-5, 0, 2**40])
def test_a_forged_count_cannot_make_it_come_for_ever(forged: int) -> None:
    times, verdict = 0, look(task="shop.sell", laneway_unknown=forged)
    while isinstance(verdict, HandBack) and times < 50:
        times += 1
        verdict = look(task="shop.sell", laneway_unknown=verdict.times)
    assert times <= 8


def test_without_grace_an_unknown_task_is_put_aside_at_once() -> None:
    limits = Limits(unknown_task_grace=0)
    assert isinstance(look(BODY, limits, task="shop.sell"), Quarantine)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(sorted({*HEADERS, *dir(Context), "laneway_unknown"})) | st.text()


@given(changes=st.dictionaries(names, values, max_size=4), body=st.binary(max_size=50))
@settings(max_examples=300, deadline=None)
def test_whatever_it_is_the_gate_answers(changes: dict[str, Any], body: bytes) -> None:
    for content in (BODY, body):
        verdict = look(content, **changes)
        if isinstance(verdict, Run):
            # What the tracer does first of all must work.
            context = Context({**HEADERS, **changes}, args=verdict.args, kwargs=verdict.kwargs)
            context.as_execution_options()
            assert context.get("id")
        elif isinstance(verdict, Quarantine):
            assert verdict.reason.isprintable()


@given(headers=values, properties=st.none() | st.dictionaries(st.text(), values), body=st.binary())
@settings(max_examples=200, deadline=None)
def test_what_is_no_message_at_all(headers: Any, properties: Any, body: bytes) -> None:
    assert isinstance(examine(properties, headers, body, tasks=TASKS), Quarantine)

"""Bodies and texts are exactly what kombu and Celery would write."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery.utils.saferepr import saferepr
from hypothesis import given
from hypothesis import strategies as st
from kombu import serialization
from kombu.utils.json import dumps

from laneway.errors import ArgumentsNotSerializable, MessageTooLarge
from laneway.publish import arguments

CALLBACKS = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
values = st.recursive(
    plain | st.datetimes() | st.uuids() | st.decimals(allow_nan=False) | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=9) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
positional = st.lists(values, max_size=5) | st.lists(values, max_size=5).map(tuple)
keywords = st.dictionaries(st.text(max_size=9), values, max_size=4)


@given(positional, keywords)
def test_a_body_is_kombus(args: Any, kwargs: Any) -> None:
    assert arguments.body(args, kwargs) == dumps((args, kwargs, CALLBACKS)).encode()


few = st.lists(st.integers() | st.text(max_size=9) | st.booleans() | st.floats(), max_size=4)


@given(positional | few | few.map(tuple), keywords | st.just({}), st.integers(1, 80))
def test_a_body_and_its_text_are_those_of_each_alone(args: Any, kwargs: Any, longest: int) -> None:
    for levels in (1, 3):
        assert arguments.body_and_text(args, kwargs, longest, levels) == (
            arguments.body(args, kwargs),
            arguments.short_text(args, longest, levels),
        )


@pytest.mark.parametrize(
    "args",
    [
        (),
        [],
        (1,),
        [1],
        ("a",),
        ["'"],
        (1, "b"),
        [1, 2],
        (-(10**99), "ü"),
        ("x" * 40,),
        (True,),
        (0.5,),
    ],
)
def test_plain_arguments_are_written_as_all_others(args: Any) -> None:
    for longest in range(1, 120):
        assert arguments.body_and_text(args, {}, longest, 3) == (
            dumps((args, {}, CALLBACKS)).encode(),
            saferepr(args, longest, maxlevels=3),
        )


def test_numbers_of_very_many_digits_are_refused_alike() -> None:
    with pytest.raises(ArgumentsNotSerializable):
        arguments.body_and_text((10**5000,), {}, 1024, 3)


@given(positional | keywords, st.integers(1, 80), st.integers(0, 5))
def test_a_text_is_celerys(value: Any, longest: int, levels: int) -> None:
    text = arguments.short_text(value, longest, levels)
    assert text == saferepr(value, longest, maxlevels=levels)


@pytest.mark.parametrize("length", range(12))
def test_a_text_is_cut_where_celery_cuts_it(length: int) -> None:
    for value in (("a" * length,), {"k": "a" * length}, ["a" * length, 1]):
        assert arguments.short_text(value, 8, 3) == saferepr(value, 8, maxlevels=3)


def test_what_json_cannot_carry_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for args in ((object(),), loop, ({(1, 2): 3},)):
        with pytest.raises(ArgumentsNotSerializable, match="Nothing was published"):
            arguments.body(args, {})


def test_a_body_may_be_as_large_as_the_limit() -> None:
    arguments.check_size(10, 10)
    with pytest.raises(MessageTooLarge, match="at most 10 bytes, got 11"):
        arguments.check_size(11, 10)


@pytest.mark.parametrize(
    "other", [json.dumps, lambda value: dumps(value, default_kwargs={"indent": 1})]
)
def test_another_json_is_noticed(other: Any) -> None:
    assert arguments.is_kombus_json()
    encoder = serialization.registry._encoders["json"]
    serialization.register("json", other, json.loads, "application/json", "utf-8")
    try:
        assert not arguments.is_kombus_json()
    finally:
        serialization.registry._encoders["json"] = encoder

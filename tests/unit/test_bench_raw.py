"""Copies of a message: what is replaced, and that py-amqp still encodes as we rely on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import amqp
import pytest
from amqp.method_framing import frame_writer

from bench.raw import MARK, Template, _frames, _publish_method, _Ready

ID = "52eb798f-b9d6-4d32-a4b7-e6d64fee3470"


def message(body: str | None = None, **headers: Any) -> Any:
    properties = {
        "content_type": "application/json",
        "correlation_id": ID,
        "delivery_mode": 2,
        "priority": 4,
        "application_headers": {"id": ID, "argsrepr": f"({MARK},)", "retries": 0, **headers},
    }
    return SimpleNamespace(
        properties=properties,
        body=f"[[{MARK}], {{}}]" if body is None else body,
        delivery_info={"exchange": "jobs", "routing_key": "default"},
    )


def decoded(properties: bytes) -> dict[str, Any]:
    found = amqp.Message()
    found._load_properties(60, properties, 0)
    return dict(found.properties)


def test_a_copy_differs_in_the_number_and_the_id_only() -> None:
    template, mark = Template.of(message(), ["another", ID])
    assert mark == ID
    properties, body = template.copy(MARK + 7)
    assert body == b"[[4000000007], {}]"
    found = decoded(properties)
    assert found["correlation_id"] == found["application_headers"]["id"]
    assert found["correlation_id"] != ID
    assert found["application_headers"]["argsrepr"] == "(4000000007,)"
    found["correlation_id"] = found["application_headers"]["id"] = ID
    found["application_headers"]["argsrepr"] = f"({MARK},)"
    assert found == message().properties


def test_no_two_copies_have_the_same_id() -> None:
    template, _ = Template.of(message(), [ID])
    ids = {decoded(template.copy(MARK + n)[0])["correlation_id"] for n in range(50)}
    assert len(ids) == 50
    assert {len(one) for one in ids} == {len(ID)}


def test_what_the_broker_added_is_not_copied() -> None:
    template, _ = Template.of(message(None, **{"x-delivery-count": 1}), [ID])
    assert "x-delivery-count" not in decoded(template.properties)["application_headers"]


@pytest.mark.parametrize(("body", "marks"), [("[[1], {}]", [ID]), (None, ["not-in-the-message"])])
def test_a_message_that_cannot_be_copied_is_refused(body: str | None, marks: list[str]) -> None:
    with pytest.raises(ValueError, match="in the message"):
        Template.of(message(body), marks)


class Wire:
    """What py-amqp would write."""

    frame_max = 131072
    bytes_sent = 0

    def __init__(self) -> None:
        self.written = b""
        self.transport = self

    def write(self, data: Any) -> None:
        self.written += bytes(data)


def test_our_frames_are_py_amqp_s() -> None:
    template, _ = Template.of(message(), [ID])
    properties, body = template.copy(MARK + 1)
    method = _publish_method("jobs", "default")
    wire = Wire()
    # The writer gets the arguments after the method's number, which ours has in front.
    frame_writer(wire, wire)(1, 3, (60, 40), method[4:], _Ready(properties, body))
    assert wire.written == _frames(3, method, properties, body)

"""The client of the management interface, against answers made up here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from laneway.broker.address import broker_address
from laneway.broker.management import Management
from laneway.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "geheim/%"
ADDRESS = broker_address("amqp://h", "http://ad%40min:geheim%2F%25@h:15672/rabbit", env={})


def _client(answer: Callable[[httpx.Request], httpx.Response]) -> Management:
    return Management(ADDRESS, transport=httpx.MockTransport(answer))


def _answering(status: int, body: Any = None) -> tuple[Management, list[httpx.Request]]:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status, json=body)

    return _client(answer), requests


def test_names_are_quoted_and_the_user_is_sent() -> None:
    client, requests = _answering(200, [])
    client.queues("a/b c")
    client.queue_entry("a/b c", "q/1")
    assert str(requests[0].url) == "http://h:15672/rabbit/api/queues/a%2Fb%20c"
    assert str(requests[1].url) == "http://h:15672/rabbit/api/queues/a%2Fb%20c/q%2F1"
    expected = httpx.BasicAuth("ad@min", PASSWORD).auth_flow(requests[0])
    assert requests[0].headers["authorization"] == next(expected).headers["authorization"]
    assert client.user == "ad@min"


def test_a_policy_is_sent_as_the_broker_wants_it() -> None:
    client, requests = _answering(201)
    client.put_policy("jobs", "p", pattern="^q$", definition={"max-length": 1}, priority=3)
    assert requests[0].method == "PUT"
    assert json.loads(requests[0].content) == {
        "pattern": "^q$",
        "definition": {"max-length": 1},
        "priority": 3,
        "apply-to": "queues",
    }


def test_a_new_vhost_is_ours() -> None:
    client, requests = _answering(201)
    client.create_vhost("jobs")
    assert [r.url.path for r in requests] == [
        "/rabbit/api/vhosts/jobs",
        "/rabbit/api/permissions/jobs/ad@min",
    ]


def test_unknown_counts_are_none_never_a_number() -> None:
    fresh = {"name": "q", "durable": True, "auto_delete": False, "arguments": {}, "type": "quorum"}
    client, _ = _answering(200, [fresh])
    (queue,) = client.queues("jobs")
    assert (queue.messages, queue.consumers, queue.publish_rate) == (None, None, None)


def test_counts_and_rates_are_read() -> None:
    entry = {
        "name": "q",
        "durable": True,
        "auto_delete": False,
        "arguments": {"x-queue-type": "quorum"},
        "type": "quorum",
        "policy": "p",
        "messages": 3,
        "messages_ready": 2,
        "messages_unacknowledged": 1,
        "consumers": 4,
        "message_stats": {
            "publish": 9,
            "publish_details": {"rate": 1.5},
            "deliver_get_details": {"rate": 0.5},
        },
    }
    client, _ = _answering(200, [entry])
    (queue,) = client.queues("jobs")
    assert (queue.messages, queue.ready, queue.unacked, queue.consumers) == (3, 2, 1, 4)
    assert (queue.published, queue.publish_rate, queue.deliver_rate) == (9, 1.5, 0.5)


def test_a_queue_that_is_not_there_is_none() -> None:
    client, _ = _answering(404, {"error": "Object Not Found"})
    assert client.queue("jobs", "q") is None
    client.delete_queue("jobs", "q")
    client.delete_vhost("jobs")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "refused the user 'ad@min'"),
        (403, "policymaker"),
        (404, "virtual host is missing"),
        (500, "status 500: a reason"),
    ],
)
def test_each_failure_says_what_to_do_and_no_password(status: int, expected: str) -> None:
    client, _ = _answering(status, {"error": "x", "reason": "a\nreason"})
    with pytest.raises(BrokerError) as caught:
        client.queues("jobs")
    assert expected in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_unreachable_names_the_plugin() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    with pytest.raises(BrokerError, match="rabbitmq-plugins enable rabbitmq_management") as caught:
        _client(answer).overview()
    assert "geheim" not in str(caught.value)


def test_slow_is_an_error_too() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    with pytest.raises(BrokerError, match="did not answer in time"):
        _client(answer).overview()


def test_something_else_on_the_port() -> None:
    with pytest.raises(BrokerError, match="not JSON"):
        _client(lambda _: httpx.Response(200, text="<html>")).overview()


def test_another_product_is_refused() -> None:
    client, _ = _answering(200, {"product_name": "LavinMQ", "rabbitmq_version": "3.13.0"})
    with pytest.raises(BrokerError, match="LavinMQ"):
        client.server_version()


def test_without_an_address_it_says_which_setting() -> None:
    import dataclasses

    with pytest.raises(BrokerError, match="LANEWAY_MANAGEMENT_URL"):
        Management(dataclasses.replace(ADDRESS, management_url=None))

"""Of a secure queue leaves what the list names, and nothing else: a canary is put everywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from laneway.sentry.secure import reduced

CANARY = "canary 4242-4242"

EVENT: dict[str, Any] = {
    "event_id": "a" * 32,
    "timestamp": "2026-11-21T16:00:00.000000Z",
    "level": "error",
    "platform": "python",
    "release": "4.2",
    "environment": "production",
    "transaction": CANARY,
    "message": CANARY,
    "logentry": {"message": CANARY, "params": [CANARY]},
    "user": {"id": CANARY},
    "extra": {"sys.argv": [CANARY]},
    "modules": {CANARY: CANARY},
    "server_name": CANARY,
    "request": {"data": CANARY},
    "breadcrumbs": {"values": [{"message": CANARY}]},
    "fingerprint": ["{{ default }}", "vault.pay", "ValueError", CANARY, {"a": CANARY}],
    "tags": {
        "queue": "secure",
        "task": "vault.pay",
        "task_id": "7a-8b",
        "attempt": "2",
        "cause": "0123456789ab",
        "outcome": "time-limit",
        "priority": CANARY,
        "root_id": CANARY,
        "card": CANARY,
        CANARY: "x",
    },
    "contexts": {
        "job": {
            "letter": "7a-8b.0",
            "show": "laneway dead show 7a-8b.0",
            "replay": "laneway dead replay --cause 0123456789ab --first 10",
            "failed": "2026-11-21T16:00:00.000+00:00",
            "runtime_seconds": 0.5,
            "place": "vault.tasks:pay",
            "error_type": CANARY,
            "started": CANARY,
            "arguments": {"card": CANARY},
            "rule": CANARY,
        },
        "trace": {"trace_id": "b" * 32, "op": "queue.process", "description": CANARY},
        "runtime": {"name": CANARY},
        CANARY: {},
    },
    "exception": {
        "values": [
            {
                "type": "ValueError",
                "module": "builtins",
                "value": CANARY,
                "mechanism": {"data": CANARY},
                "stacktrace": {
                    "frames": [
                        {
                            "module": "vault.tasks",
                            "function": "pay",
                            "lineno": 12,
                            "in_app": True,
                            "vars": {"card": CANARY},
                            "context_line": CANARY,
                            "pre_context": [CANARY],
                            "abs_path": f"/{CANARY}",
                            "filename": CANARY,
                        },
                        {"function": CANARY, "module": CANARY, "lineno": CANARY},
                        CANARY,
                    ]
                },
            },
            CANARY,
        ]
    },
    CANARY: CANARY,
}


def test_what_is_left_of_an_event() -> None:
    left = reduced(EVENT)
    assert "canary" not in json.dumps(left)
    assert left["transaction"] == "vault.pay"
    assert left["tags"] == {
        "queue": "secure",
        "task": "vault.pay",
        "task_id": "7a-8b",
        "attempt": "2",
        "cause": "0123456789ab",
        "outcome": "time-limit",
    }
    assert left["contexts"]["job"] == {
        "letter": "7a-8b.0",
        "show": "laneway dead show 7a-8b.0",
        "replay": "laneway dead replay --cause 0123456789ab --first 10",
        "failed": "2026-11-21T16:00:00.000+00:00",
        "runtime_seconds": 0.5,
        "place": "vault.tasks:pay",
    }
    [error] = left["exception"]["values"]
    assert (error["type"], error["module"]) == ("ValueError", "builtins")
    assert error["stacktrace"]["frames"][0] == {
        "module": "vault.tasks",
        "function": "pay",
        "lineno": 12,
        "in_app": True,
    }
    assert left["fingerprint"] == ["{{ default }}", "vault.pay", "ValueError"]


def test_twice_is_once() -> None:
    assert reduced(reduced(EVENT)) == reduced(EVENT)


def test_a_transaction() -> None:
    left = reduced(
        {
            **EVENT,
            "type": "transaction",
            "start_timestamp": 1.0,
            "spans": [{"description": CANARY}],
            "contexts": {
                "trace": {
                    "trace_id": "b" * 32,
                    "op": "queue.process",
                    "data": {"messaging.message.body.size": 7, "card": CANARY},
                }
            },
        }
    )
    assert "canary" not in json.dumps(left)
    assert (left["type"], left["spans"]) == ("transaction", [])
    assert left["contexts"]["trace"]["data"] == {"messaging.message.body.size": 7}


def test_a_check_in() -> None:
    left = reduced(
        {
            "type": "check_in",
            "check_in_id": "c" * 32,
            "monitor_slug": "nightly",
            "status": "ok",
            "duration": 3.5,
            "contexts": {"trace": {"trace_id": "b" * 32}},
            "user": CANARY,
        }
    )
    assert left == {
        "type": "check_in",
        "check_in_id": "c" * 32,
        "monitor_slug": "nightly",
        "status": "ok",
        "duration": 3.5,
    }


@pytest.mark.parametrize(
    "odd", [{}, {"tags": []}, {"contexts": 1}, {"exception": []}, {"exception": {"values": {}}}]
)
def test_odd_events(odd: dict[str, Any]) -> None:
    assert reduced(odd)["tags"] == {}

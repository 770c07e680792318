"""The event of a dead letter: what, where, since when, how many, and what to type."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from laneway.deadletter.commands import replay_command, show_command
from laneway.sentry import scrub
from laneway.sentry.storm import OTHERS
from laneway.sentry.trace import hex_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.deadletter.letter import Letter, Outcome
    from laneway.policy import Policy
    from laneway.sentry.config import Config
    from laneway.sentry.storm import Held

#: Characters of a tag's value that Sentry keeps.
LONGEST_TAG: Final = 200

# What is said of an end that no code of the task raised. The letter's own words can be the job's.
_WORDS: Final[Mapping[Outcome, str]] = {
    "failed": "the task failed",
    "time-limit": "it ran into its hard time limit",
    "lost": "the process or worker that ran it died too often",
    "expired": "it expired before a worker had time for it",
    "rejected": "it was rejected",
    "refused": "the gate refuses to run it",
    "quarantined": "no task could be made of the message",
}
#: Ends that somebody wanted, more or less.
_WARNINGS: Final = frozenset({"expired", "rejected"})
#: Ends whose text the task itself wrote.
_OWN_WORDS: Final = frozenset({"failed", "rejected"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What only the process that ran the job knows."""

    #: When the task's code began, in seconds since 1970.
    started_at: float | None = None
    #: Arguments that may be seen, by name.
    arguments: Mapping[str, Any] = field(default_factory=dict)


def event_id_of(letter: str) -> str:
    """The event's id of a letter's id: whoever reports this failure, it is one event."""
    return _digits(letter, 32)


def trace_of(letter: Letter) -> dict[str, str]:
    """The context ``trace`` of a job that is not sampled.

    It is the trace that its message carried, else that of its root: the jobs of one root belong
    together.
    """
    trace_id = letter.trace_id or hex_of(letter.root_id or letter.task_id or letter.id)
    return {"trace_id": trace_id, "span_id": _digits(letter.id, 16)}


def _digits(text: str, number: int) -> str:
    return hashlib.sha256(f"laneway:{text}".encode()).hexdigest()[:number]


def event_of(
    letter: Letter,
    *,
    config: Config,
    policy: Policy,
    held: int = 0,
    seen: Seen | None = None,
    words: scrub.Words | None = None,
) -> dict[str, Any]:
    """The event of a letter, as the SDK takes it; without an exception's traceback.

    Args:
        letter: it.
        config: release and image.
        policy: says which route chose the queue.
        held: failures of this cause that were held back since its last event.
        seen: what the process that ran it knows.
        words: what takes the job's values out of the letter's text; None if they are not known, so
            that the text cannot leave.
    """
    return {
        "event_id": event_id_of(letter.id),
        "timestamp": letter.at,
        "level": "warning" if letter.outcome in _WARNINGS else "error",
        "platform": "python",
        "logger": "laneway",
        "transaction": letter.task or "(no task)",
        "fingerprint": fingerprint_of(letter),
        "tags": tags_of(letter, config),
        "contexts": {
            "job": job_of(letter, policy, held=held, seen=seen or Seen()),
            "trace": trace_of(letter),
        },
        "breadcrumbs": {"values": _breadcrumbs(letter, seen or Seen())},
        "exception": {"values": [_exception_of(letter, words)]},
    }


def closing_event(
    held: Held, last: Mapping[str, Any] | None, *, config: Config, at: float
) -> dict[str, Any]:
    """The event that says how many were held back when a storm is over.

    Args:
        held: what was.
        last: what was remembered of the cause's last event: it goes into the same issue.
        config: release and image.
        at: seconds since 1970.
    """
    count = f"{held.count:,} more failure{'' if held.count == 1 else 's'}"
    job = {
        "held_back": held.count,
        "held_since": moment(held.first_at),
        "held_until": moment(held.last_at),
    }
    # A storm can be one for many causes: of tasks that nobody knows.
    is_one = held.cause != OTHERS and (last is None or last["tags"].get("cause") == held.cause)
    of = f"the cause {held.cause}" if is_one else "many causes"
    closing = {
        "timestamp": at,
        "level": "warning",
        "message": f"{count} of {of} were held back",
    }
    if last is None:
        return {
            "platform": "python",
            "logger": "laneway",
            "fingerprint": ["laneway", "held-back", held.cause],
            "tags": _short({"cause": held.cause, "image": config.image}),
            "contexts": {"job": job},
            **closing,
        }
    return {**last, "contexts": {"job": {**last["contexts"]["job"], **job}}, **closing}


def remembered(event: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an event, for a closing event of its cause: nothing of the one job."""
    kept = ("platform", "logger", "transaction", "fingerprint", "exception")
    tags = {
        name: value
        for name, value in event["tags"].items()
        if name not in {"task_id", "root_id", "attempt", "deliveries"}
    }
    job = event["contexts"]["job"]
    return {
        **{name: event[name] for name in kept if name in event},
        "tags": tags,
        "contexts": {
            "job": {name: job[name] for name in ("place", "error_type", "replay") if name in job}
        },
    }


def fingerprint_of(letter: Letter) -> list[str]:
    """What events of one issue have in common.

    With ``{{ default }}``, Sentry's own grouping and its rules still count where there is a
    traceback.
    """
    task = letter.task or "(no task)"
    if letter.outcome == "failed":
        return ["{{ default }}", task, letter.error_type or "(no type)"]
    if letter.outcome in {"quarantined", "rejected", "refused"}:
        return [letter.outcome, task, letter.error_type or "(no type)"]
    return [letter.outcome, task]


def tags_of(letter: Letter, config: Config) -> dict[str, str]:
    """What events are searched by. Values that are not known are left out."""
    return _short(
        {
            "queue": letter.queue,
            "priority": letter.priority,
            "task": letter.task,
            "task_id": letter.task_id,
            "root_id": letter.root_id,
            "attempt": letter.attempts,
            "deliveries": letter.deliveries,
            "outcome": letter.outcome,
            "cause": letter.cause,
            "worker": letter.worker,
            "host": letter.host,
            "image": config.image,
            "release": letter.version or config.release,
        }
    )


def job_of(letter: Letter, policy: Policy, *, held: int, seen: Seen) -> dict[str, Any]:
    """The context ``job``: times, the route, and the commands."""
    route, rule = _route(letter, policy)
    began = seen.started_at
    found: dict[str, Any] = {
        "letter": letter.id,
        "show": show_command(letter.id),
        "replay": replay_command(letter.cause),
        "published": moment(letter.ready_at),
        "started": moment(began),
        "failed": moment(letter.at),
        "failed_first": moment(letter.first_at),
        "wait_seconds": _between(letter.ready_at, began),
        "runtime_seconds": _between(began, letter.at),
        "attempts": letter.attempts,
        "deliveries": letter.deliveries,
        "replays": letter.replays or None,
        "error_type": letter.error_type,
        "place": letter.place,
        "route": route,
        "rule": rule,
        "held_back": held or None,
        "arguments": {name: scrub.shown(value) for name, value in seen.arguments.items()} or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def moment(at: float | None) -> str | None:
    """A time as people and machines read it, in UTC."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None


def _route(letter: Letter, policy: Policy) -> tuple[str | None, str | None]:
    if letter.task is None:
        return None, None
    decision = policy.router.decide(letter.task)
    route = decision.route.pattern if decision.route else None
    if decision.queue == letter.queue:
        return route, decision.queue_reason
    return route, (
        f"the call, the task or an older policy said {letter.queue!r}; today: "
        f"{decision.queue_reason}"
    )


def _breadcrumbs(letter: Letter, seen: Seen) -> list[dict[str, Any]]:
    """What became of the job, in time: retries are here, and no events."""
    retries = (letter.attempts or 1) - 1
    found: list[tuple[float | None, str, str]] = [
        (letter.ready_at, "info", "ready to run: published, or its delay ended"),
        (
            letter.first_at if retries else None,
            "warning",
            f"failed for the first time; {retries} retr{'y' if retries == 1 else 'ies'} since",
        ),
        (seen.started_at, "info", f"attempt {letter.attempts} started"),
        (letter.at, "error", f"ended: {letter.outcome}"),
    ]
    return [
        {"timestamp": at, "type": "default", "category": "job", "level": level, "message": text}
        for at, level, text in sorted(
            ((at, level, text) for at, level, text in found if at is not None),
            key=lambda crumb: crumb[0],
        )
    ]


def _exception_of(letter: Letter, words: scrub.Words | None) -> dict[str, Any]:
    module, _, name = (letter.error_type or letter.outcome).rpartition(".")
    text = _WORDS[letter.outcome]
    if letter.outcome in _OWN_WORDS and words is not None and letter.message:
        text = words.clean(letter.message)
    return {
        "type": name,
        "module": module or None,
        "value": text,
        # (Not "synthetic": then servers leave the type out, and the issue is called "<unknown>".)
        "mechanism": {"type": "laneway", "handled": False},
    }


def _between(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else round(max(0.0, other - one), 3)


def _short(tags: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: str(value) for name, value in tags.items() if value is not None}
    return {name: " ".join(text.split())[:LONGEST_TAG] for name, text in texts.items() if text}

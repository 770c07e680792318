"""Reading ``queues/*.toml``: the file's name is the queue's name, and nothing wrong is passed over.

What is wrong is said all at once, one line a problem, with the file, the line and the key::

    queues/high.toml:7: worker.concurrency: expected a whole number from 1 to 1000, got: "many"
    queues/high.toml:9: unknown key 'max_lenght' in [broker], did you mean 'max_length'?
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from laneway.policy.problems import at, by_line, describe, line_of, toml_problem
from laneway.policy.queues import POOL_CAN, QUEUE_NAME, RESERVED_NAMES, Queue
from laneway.types import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from laneway.policy.problems import Keys


def queue_files(directory: Path) -> list[Path]:
    """The files of a policy's queues, in the order of their names; hidden files are none."""
    if not directory.is_dir():
        return []
    return sorted(
        path
        for path in directory.iterdir()
        if path.suffix.lower() == ".toml" and not path.name.startswith(".")
    )


def load_queues(directory: Path) -> tuple[dict[str, Queue], list[str]]:
    """Read every ``*.toml`` of ``directory``: the queues without a problem, and all problems."""
    queues: dict[str, Queue] = {}
    problems: list[str] = []
    files = queue_files(directory)
    if not files:
        problems.append(f"queues/: expected at least one file like default.toml in {directory}")
    for path in files:
        queue, found = _load_queue(path)
        problems += found
        if queue is not None:
            queues[queue.name] = queue
    return queues, problems


def _load_queue(path: Path) -> tuple[Queue | None, list[str]]:
    place = f"queues/{path.name}"
    problems = [at(place, None, problem) for problem in _name_problems(path)]
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [*problems, toml_problem(place, text, error)]
    except (OSError, ValueError, RecursionError) as error:
        words = f"expected a readable TOML file in UTF-8, got: {error}"
        return None, [*problems, at(place, None, words)]
    queue, found = _validate(path.stem, data)
    problems += [at(place, line_of(text, keys), words) for keys, words in found]
    return (None if problems else queue), by_line(problems)


def _name_problems(path: Path) -> Iterator[str]:
    if path.suffix != ".toml":
        yield f"expected the ending .toml, got: {path.suffix!r}; rename the file"
    if not QUEUE_NAME.fullmatch(path.stem):
        yield (
            "expected a name of small letters, digits and dashes (a letter first, no dash last, "
            f"at most 63), got: {path.stem!r}; rename the file"
        )
    elif path.stem in RESERVED_NAMES:
        yield f"the name {path.stem!r} is taken ({RESERVED_NAMES[path.stem]}); rename the file"


def _validate(name: str, data: dict[str, Any]) -> tuple[Queue, list[tuple[Keys, str]]]:
    problems: list[tuple[Keys, str]] = []
    if "name" in data:
        problems.append((("name",), f"unknown key 'name'; the file's name is the name: {name!r}"))
    content = {**data, "name": name}
    try:
        queue = Queue.model_validate(content)
    except ValidationError as error:
        wrong = [describe(item, Queue) for item in error.errors(include_url=False)]
        problems += wrong
        queue = _without({keys for keys, _ in wrong}, content)
    wrong_keys = {keys for keys, _ in problems}
    problems += [
        (keys[0], words)
        for keys, words in _contradictions(queue)
        # What leans on a wrong value is no finding of its own.
        if wrong_keys.isdisjoint(keys)
    ]
    return queue, problems


def _without(wrong: set[Keys], content: dict[str, Any]) -> Queue:
    """The queue with defaults for its wrong keys, so that the others can be compared now."""
    kept: dict[str, Any] = {"summary": "unsaid", "service_level": "1s"}
    for key, value in content.items():
        if (key,) in wrong:
            continue
        if isinstance(value, dict):
            kept[key] = {inner: item for inner, item in value.items() if (key, inner) not in wrong}
        else:
            kept[key] = value
    return Queue.model_validate(kept)


def _contradictions(queue: Queue) -> Iterator[tuple[list[Keys], str]]:
    """What no key shows alone: the keys involved (the first is the place) and the words."""
    worker, broker, scaling = queue.worker, queue.broker, queue.scaling
    soft, hard = worker.soft_time_limit, worker.time_limit
    can = POOL_CAN[worker.pool]
    pool: Keys = ("worker", "pool")
    for key in ("soft_time_limit", "time_limit", "max_tasks_per_child"):
        if getattr(worker, key) is not None and not getattr(can, key):
            able = " or ".join(f'"{name}"' for name, p in POOL_CAN.items() if getattr(p, key))
            words = (
                f'expected none, because the pool "{worker.pool}" cannot keep it; remove the key '
                f"or use the pool {able}"
            )
            yield [("worker", key), pool], f"worker.{key}: {words}"
    if worker.concurrency > 1 and not can.concurrency:
        words = f'expected 1, because the pool "{worker.pool}" runs one job at a time'
        key = "concurrency"
        yield [("worker", key), pool], f"worker.{key}: {words}, got: {worker.concurrency}"
    if soft is not None and hard is not None and soft >= hard:
        words = f"expected less than worker.time_limit ({_written(hard)}), got: {_written(soft)}"
        yield (
            [("worker", "soft_time_limit"), ("worker", "time_limit")],
            f"worker.soft_time_limit: {words}",
        )
    longest = max(soft or 0.0, hard or 0.0)
    if broker.consumer_timeout is not None and broker.consumer_timeout <= longest:
        words = (
            f"expected more than the time limit of a job ({_written(longest)}), or the broker "
            f"gives a running job to another worker, got: {_written(broker.consumer_timeout)}"
        )
        yield (
            [
                ("broker", "consumer_timeout"),
                ("worker", "time_limit"),
                ("worker", "soft_time_limit"),
            ],
            f"broker.consumer_timeout: {words}",
        )
    retry = queue.retry
    if retry.first > retry.longest:
        said = "" if "longest" in retry.model_fields_set else ", the default"
        words = (
            f"expected at most retry.longest ({_written(retry.longest)}{said}), got: "
            f"{_written(retry.first)}"
        )
        yield [("retry", "first"), ("retry", "longest")], f"retry.first: {words}"
    if scaling.min > scaling.max:
        said = "" if "max" in scaling.model_fields_set else ", the default"
        words = f"expected at most scaling.max ({scaling.max}{said}), got: {scaling.min}"
        yield [("scaling", "min"), ("scaling", "max")], f"scaling.min: {words}"


def _written(seconds: float) -> str:
    return f'"{format_duration(seconds)}"'

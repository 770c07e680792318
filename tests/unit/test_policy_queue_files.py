"""Reading ``queues/*.toml``: every problem of every file, each with its place and a hint."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.policy.problems import line_of
from laneway.policy.queue_files import load_queues

if TYPE_CHECKING:
    from pathlib import Path

GOOD = 'summary = "for tests"\nservice_level = "1s"\n'


def problems_of(folder: Path, text: str, name: str = "high.toml") -> list[str]:
    (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")
    queues, problems = load_queues(folder)
    assert bool(queues) != bool(problems)
    return problems


def test_the_files_name_is_the_queues_name(tmp_path: Path) -> None:
    for name in ("low", "a", "mail-2"):
        (tmp_path / f"{name}.toml").write_text(GOOD)
    queues, problems = load_queues(tmp_path)
    assert problems == []
    assert list(queues) == ["a", "low", "mail-2"]
    assert [queue.name for queue in queues.values()] == ["a", "low", "mail-2"]


def test_what_is_no_queue_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "high.toml").write_text(GOOD)
    for name in ("high.toml.bak", "high.toml~", ".high.toml.swp", ".#low.toml", "README.md"):
        (tmp_path / name).write_text("not TOML")
    assert load_queues(tmp_path)[1] == []


def test_no_queues_at_all(tmp_path: Path) -> None:
    missing = tmp_path / "queues"
    assert load_queues(missing) == (
        {},
        [f"queues/: expected at least one file like default.toml in {missing}"],
    )
    missing.mkdir()
    assert len(load_queues(missing)[1]) == 1


def test_the_bounds_of_retries_are_compared(tmp_path: Path) -> None:
    found = problems_of(
        tmp_path,
        """\
        summary = "x"
        service_level = "1s"
        [retry]
        first = "1h"
        budget = "many"
        """,
    )
    assert found == [
        (
            "queues/high.toml:4: retry.first: expected at most retry.longest "
            '("10m", the default), got: "1h"'
        ),
        'queues/high.toml:5: retry.budget: expected a number from 0 to 100, got: "many"',
    ]


def test_all_problems_of_a_file_come_at_once(tmp_path: Path) -> None:
    found = problems_of(
        tmp_path,
        """\
        summary = ""
        service_level = 1
        prioritty = true

        [broker]
        max_lenght = 5
        vhost = "sekure"

        [worker]
        concurrency = "many"
        soft_time_limit = "30s"
        time_limit = "10s"

        [scaling]
        min = 5
        max = 3
        """,
    )
    assert found == [
        'queues/high.toml:1: summary: expected a line that says whom the queue serves, got: ""',
        (
            'queues/high.toml:2: service_level: expected a duration from "1ms" to "7d" with its '
            'unit, like "30s", got: 1'
        ),
        (
            "queues/high.toml:3: unknown key 'prioritty'; expected one of: broker, retry, "
            "scaling, service_level, summary, worker"
        ),
        "queues/high.toml:6: unknown key 'max_lenght' in [broker], did you mean 'max_length'?",
        'queues/high.toml:7: broker.vhost: expected one of "jobs", "secure", got: "sekure"',
        (
            "queues/high.toml:10: worker.concurrency: expected a whole number from 1 to 1000, got: "
            '"many"'
        ),
        (
            "queues/high.toml:11: worker.soft_time_limit: expected less than worker.time_limit "
            '("10s"), got: "30s"'
        ),
        "queues/high.toml:15: scaling.min: expected at most scaling.max (3), got: 5",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'service_level = "1s"',
            ": summary: expected a value, because the key has no default, got nothing",
        ),
        (GOOD + "worker = 3", ":3: worker: expected a table like [worker], got: 3"),
        (GOOD + "[[worker]]", ":3: worker: expected a table like [worker], got: [{}]"),
        (GOOD + "[workr]", ":3: unknown key 'workr', did you mean 'worker'?"),
        (GOOD + "pool = 'solo'", ":3: unknown key 'pool'; it belongs in [worker]"),
        (
            GOOD + "[worker]\nmax_length = 3",
            ":4: unknown key 'max_length' in [worker]; it belongs in [broker]",
        ),
        (
            "[scaling]\n" + GOOD,
            ":3: unknown key 'service_level' in [scaling]; it belongs above the first [section]",
        ),
        (
            GOOD + "name = 'high'",
            ":3: unknown key 'name'; the file's name is the name: 'high'",
        ),
        (
            GOOD + "broker.max_length = 0",
            ":3: broker.max_length: expected a whole number from 1 to 10_000_000, got: 0",
        ),
        (
            GOOD + "[worker]\npool = 'threads'\ntime_limit = '1s'",
            (
                ':5: worker.time_limit: expected none, because the pool "threads" cannot keep it; '
                'remove the key or use the pool "prefork"'
            ),
        ),
        (
            GOOD + "[worker]\npool = 'solo'\nconcurrency = 2",
            (
                ':5: worker.concurrency: expected 1, because the pool "solo" runs one job at a '
                "time, got: 2"
            ),
        ),
        (
            GOOD + "[scaling]\nmin = 11",
            ":4: scaling.min: expected at most scaling.max (10, the default), got: 11",
        ),
        (
            GOOD + "[broker]\nconsumer_timeout = '1h'\n[worker]\ntime_limit = '60m'",
            (
                ':4: broker.consumer_timeout: expected more than the time limit of a job ("1h"), '
                'or the broker gives a running job to another worker, got: "1h"'
            ),
        ),
        ('summary = "', ":1: not TOML: Unterminated string (at the end of the file)"),
        (GOOD + "[worker", ":3: not TOML: "),
        (GOOD + GOOD, ":3: not TOML: Cannot overwrite a value"),
        ("a = " + "[" * 5000, ": expected a readable TOML file in UTF-8, got: "),
        ("a = " + "1" * 5000, ": expected a readable TOML file in UTF-8, got: "),
    ],
)
def test_each_problem_in_one_grammar(tmp_path: Path, text: str, problem: str) -> None:
    assert any(
        found.startswith(f"queues/high.toml{problem}") for found in problems_of(tmp_path, text)
    ), problems_of(tmp_path, text)


@pytest.mark.parametrize("pool", ["threads", "gevent", "eventlet", "solo"])
def test_a_pool_is_not_asked_for_what_it_cannot_do(tmp_path: Path, pool: str) -> None:
    found = problems_of(
        tmp_path,
        GOOD + f"[worker]\npool = '{pool}'\nsoft_time_limit = '1s'\ntime_limit = '2s'\n"
        "max_tasks_per_child = 3",
    )
    assert [line.split(": ")[1] for line in found] == [
        "worker.soft_time_limit",
        "worker.time_limit",
        "worker.max_tasks_per_child",
    ]
    assert all('use the pool "prefork"' in line for line in found)


def test_prefork_keeps_every_limit(tmp_path: Path) -> None:
    limits = "soft_time_limit = '1s'\ntime_limit = '2s'\nmax_tasks_per_child = 3\nconcurrency = 9"
    assert problems_of(tmp_path, f"{GOOD}[worker]\n{limits}") == []


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (
            "[worker]\npool = 'thread'\ntime_limit = '1s'\nsoft_time_limit = 'x'",
            ["worker.pool", "worker.soft_time_limit"],
        ),
        ("[worker]\npool = 'solo'\nconcurrency = 0", ["worker.concurrency"]),
        ("[scaling]\nmin = 20\nmax = 0", ["scaling.max"]),
        ("worker = 3\n[scaling]\nmin = 20", ["worker", "scaling.min"]),
    ],
)
def test_what_leans_on_a_wrong_value_is_not_reported(
    tmp_path: Path, text: str, places: list[str]
) -> None:
    assert [line.split(": ")[1] for line in problems_of(tmp_path, GOOD + text)] == places


def test_equal_limits_leave_no_time_to_clean_up(tmp_path: Path) -> None:
    limits = "[worker]\nsoft_time_limit = '60s'\ntime_limit = '1m'"
    (found,) = problems_of(tmp_path, GOOD + limits)
    assert found.endswith(
        'worker.soft_time_limit: expected less than worker.time_limit ("1m"), got: "1m"'
    )


@pytest.mark.parametrize(
    "name", ["High", "a.b", "a_b", "1st", "-a", "a-", "é", "a" * 64, "celery", "dead", "jobs"]
)
def test_names_that_a_queue_cannot_have(tmp_path: Path, name: str) -> None:
    found = problems_of(tmp_path, GOOD, f"{name}.toml")
    assert len(found) == 1
    assert repr(name) in found[0]
    assert found[0].endswith("; rename the file")


def test_two_files_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "high.TOML").write_text(GOOD)
    (tmp_path / "high.toml").write_text(GOOD)
    assert load_queues(tmp_path)[1] == [
        "queues/high.TOML: expected the ending .toml, got: '.TOML'; rename the file"
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").mkdir()
    (tmp_path / "b.toml").write_bytes(b'summary = "\xff"')
    (tmp_path / "c.toml").symlink_to(tmp_path / "nowhere")
    queues, problems = load_queues(tmp_path)
    assert queues == {}
    assert [line.partition(": ")[0] for line in problems] == [
        f"queues/{name}.toml" for name in "abc"
    ]


def test_one_broken_file_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("broken")
    (tmp_path / "b.toml").write_text(GOOD)
    queues, problems = load_queues(tmp_path)
    assert list(queues) == ["b"]
    assert len(problems) == 1


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_content_makes_reading_fail(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    folder = tmp_path_factory.mktemp("queues")
    data = content if isinstance(content, bytes) else content.encode(errors="replace")
    (folder / "high.toml").write_bytes(data)
    queues, problems = load_queues(folder)
    assert bool(queues) != bool(problems)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("a",), 1),
        (("text",), 4),
        (("after",), 7),
        (("table", "x"), 10),
        (("dotted", "y"), 8),
        (("table", "nothing"), None),
        (("nothing",), None),
    ],
)
def test_the_line_of_a_key(keys: tuple[str, ...], line: int | None) -> None:
    text = '''\
a = 1
# after = 1

text = """
after = 1
"""
after = 1
dotted.y = 1
[table]
x = [
  1,
]
'''
    assert line_of(text, keys) == line

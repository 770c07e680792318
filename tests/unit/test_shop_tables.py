from __future__ import annotations

import dataclasses
import io
from typing import Any

from rich.console import Console

from laneway.console.numbers import UNKNOWN
from shop.accounting import Account, Failures, Placement, Times
from shop.progress import LiveProgress, PlainProgress, progress
from shop.tables import SHOWN_PROBLEMS, render

TIMES = Times(
    queue="high",
    priority=None,
    jobs=1200,
    succeeded=1190,
    failed=10,
    retries=7,
    waits=(0.01, 0.02, 0.03, 4.0),
    runtimes=(),
)
ACCOUNT = Account(
    submitted=1200,
    succeeded=1190,
    failed=10,
    skipped=3,
    missing=0,
    retries=7,
    duplicates=1,
    queues=(TIMES,),
    priorities=(dataclasses.replace(TIMES, priority=9),),
    placements=(
        Placement(
            task="shop.payment.charge",
            queue="high",
            priority=9,
            why="route 'shop.*' (routing.py:2)",
            jobs=1200,
        ),
    ),
    failures=(
        Failures(task="shop.t", error="E", jobs=10, planned=10, example="[card] was " + "x" * 200),
    ),
    problems=(),
)


def shown(account: Account) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(render(account), highlight=False)
    text = str(console.file.getvalue())  # type: ignore[attr-defined]  # it is the StringIO above
    assert max(map(len, text.splitlines())) <= 100
    return text


def row(text: str, start: str, title: str) -> list[str]:
    lines = text[text.index(title) :].splitlines()
    return next(line.split() for line in lines if line.startswith(start))


def test_every_number_is_on_the_screen() -> None:
    text = shown(ACCOUNT)
    assert row(text, "high", "Jobs by queue") == (
        ["high", "1,200", "1,190", "10", "7", "20ms", "4.00s", UNKNOWN, UNKNOWN]
    )
    assert row(text, "high", "By priority") == (
        ["high", "9", "1,200", "20ms", "4.00s", UNKNOWN, UNKNOWN]
    )
    assert row(text, "shop.payment", "Where each task went") == (
        ["shop.payment.charge", "high", "9", "1,200", "'shop.*'", "(routing.py:2)"]
    )
    assert row(text, "shop.t", "Failed for good")[:6] == (
        ["shop.t", "E", "10", "10", "[card]", "was"]
    )
    assert "1,200 of 1,200 submitted jobs are accounted for: 1,190 succeeded" in text
    assert "(7 retries, 1 ran twice, 3 never started" in text
    assert "Problems" not in text


def test_problems_are_listed_up_to_a_bound() -> None:
    problems = tuple(f"shop.t {number}: [lost]" for number in range(SHOWN_PROBLEMS + 5))
    text = shown(dataclasses.replace(ACCOUNT, missing=5, problems=problems))
    assert "1,195 of 1,200 submitted jobs are accounted for" in text
    assert f"shop.t {SHOWN_PROBLEMS - 1}: [lost]" in text
    assert f"shop.t {SHOWN_PROBLEMS}: [lost]" not in text
    assert "and 5 more" in text
    assert "25 problems, see above" in text


def test_without_failures_there_is_no_such_table() -> None:
    assert "Failed for good" not in shown(dataclasses.replace(ACCOUNT, failures=()))


def console(**options: Any) -> Console:
    return Console(file=io.StringIO(), width=100, **options)


def test_plain_lines_where_there_is_no_terminal() -> None:
    plain = console(force_terminal=False)
    with progress(plain, flows=3, jobs={"high": 2, "low": 5}) as shown:
        assert isinstance(shown, PlainProgress)
        shown.show(submitted=3, ended={"low": 4})
    text = plain.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    assert text.splitlines() == ["  0.0 s  submitted 3/3, ended: high 0/2, low 4/5"]


def test_bars_on_a_terminal() -> None:
    terminal = console(force_terminal=True)
    with progress(terminal, flows=3, jobs={"high": 2, "low": 5}) as shown:
        assert isinstance(shown, LiveProgress)
        shown.show(submitted=3, ended={"low": 4})
    text = terminal.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    assert "3/3" in text
    assert "4/5" in text

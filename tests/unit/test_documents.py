"""What the documents say of the code is true, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from laneway import settings
from laneway.broker import CLIENTS
from laneway.policy.queues import POOL_CAN

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "helm").rglob("*.md")]
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of all tables."""
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def anchors(text: str) -> set[str]:
    """The places of a document that a link can name, as GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Two words, one\n")
    document = tmp_path / "a.md"
    document.write_text("[x](b.md) [y](b.md#two-words-one) [z](b.md#three) [w](c.md)")
    assert broken_links(document) == ["b.md#three", "c.md"]


def test_the_index_names_every_document() -> None:
    index = text_of("docs/README.md")
    missing = [
        str(path.relative_to(ROOT / "docs"))
        for path in (ROOT / "docs").rglob("*.md")
        if path.name != "README.md" and f"({path.relative_to(ROOT / 'docs')}" not in index
    ]
    assert missing == []


def test_the_settings_that_are_refused() -> None:
    table = {row[0].strip("`"): row[1:] for row in rows(text_of("docs/how-to/from-celery.md"))}
    for name, (value, reason) in settings.FIXED.items():
        shown = "unset" if value is None else f"`{value!r}`"
        assert table.get(name) == [shown, reason], name
    for name, decides in settings.DECIDED_ELSEWHERE.items():
        assert table.get(name) == [decides], name
    named = {name for name in table if re.fullmatch(r"[a-z]+(_[a-z]+)+", name)}
    assert named == set(settings.FIXED) | set(settings.DECIDED_ELSEWHERE)


def test_the_settings_with_another_default() -> None:
    text = " ".join(text_of("docs/how-to/from-celery.md").split())
    for name, value in settings.DEFAULTS.items():
        assert f"`{name} = {value!r}`" in text


def test_what_a_pool_can_do() -> None:
    header, _, *table = rows(text_of("docs/reference/pools.md"))
    pools = header[1:]
    assert pools == list(POOL_CAN)
    keys = {
        "more than one job at a time": "concurrency",
        "`soft_time_limit`": "soft_time_limit",
        "`time_limit`": "time_limit",
        "`max_tasks_per_child`": "max_tasks_per_child",
    }
    cells = {row[0]: row[1:] for row in table}
    for shown, key in keys.items():
        can = ["yes" if getattr(POOL_CAN[pool], key) else "no" for pool in POOL_CAN]
        assert cells[shown] == can, key


def test_what_a_client_can_do() -> None:
    shown = rows(text_of("docs/reference/brokers.md"))
    start = shown.index(["ability", "`py-amqp`", "`librabbitmq`", "with librabbitmq"]) + 2
    clients = [CLIENTS["py-amqp"], CLIENTS["librabbitmq"]]
    expected = [
        [
            ability,
            *("yes" if client.can(ability) else "**no**" for client in clients),
            CLIENTS["librabbitmq"].abilities[ability][1],
        ]
        for ability in CLIENTS["py-amqp"].abilities
    ]
    assert shown[start : start + len(expected)] == expected
    assert {frozenset(client.abilities) for client in clients} == {
        frozenset(a[0] for a in expected)
    }


def test_every_dependency_has_its_reason() -> None:
    text = text_of("docs/dependencies.md")
    declared = re.findall(r'^    "([a-z0-9-]+)[><=]', text_of("pyproject.toml"), re.MULTILINE)
    assert len(declared) > 15
    missing = [name for name in declared if f"`{name}`" not in text]
    assert missing == []


def test_every_test_that_the_promises_name_exists() -> None:
    folder = "integration"
    named = []
    for kind, name in re.findall(
        r"(?:(\w+)/)?(test_\w+\.py)", text_of("docs/design/promises.md") + text_of("README.md")
    ):
        folder = kind or folder
        named.append(ROOT / "tests" / folder / name)
    assert len(named) > 20
    assert [str(path.relative_to(ROOT)) for path in named if not path.exists()] == []

"""Every block of docs/how-to/outbox.md runs, section by section, and prints what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.how_to import promised, run, run_python, text_of, with_command
from support.workers import environment

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.broker import BrokerAddress

pytestmark = pytest.mark.integration

SECTIONS = {
    section.partition("\n")[0]: re.findall(
        r"^```(python|sh)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL
    )
    for section in text_of("outbox").split("\n## ")[1:]
}
#: What manage.py does for the blocks of a project.
DJANGO = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
"""


@pytest.mark.parametrize("title", [title for title, blocks in SECTIONS.items() if blocks])
def test_the_blocks_of_a_section(title: str, topology: BrokerAddress, tmp_path: Path) -> None:
    env = with_command(environment(topology, "disabled://"))
    if title == "Django":
        env["DJANGO_SETTINGS_MODULE"] = "support.django_project"
        env["LANEWAY_TEST_SQLITE"] = str(tmp_path / "django.db")
    if title == "When something goes wrong":
        here = env | {"LANEWAY_OUTBOX_URL": "sqlite:///jobs.db"}
        run(["laneway", "outbox", "create"], here, folder=tmp_path)
    expected = []
    for language, block in SECTIONS[title]:
        if language == "sh":
            out = run(["sh", "-ec", block], env, folder=tmp_path)
            expected = re.findall(r"^laneway .*--once  # (.*)$", block, re.MULTILINE)
            assert [line for line in out.splitlines() if "published" in line] == expected
            continue
        setup = DJANGO if title == "Django" else ""
        assert run_python(setup + block, env, folder=tmp_path) == promised(block)


def test_sections_with_blocks_are_found() -> None:
    assert sum(bool(blocks) for blocks in SECTIONS.values()) == 5

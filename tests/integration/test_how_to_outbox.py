"""Every block of docs/how-to/outbox.md runs, section by section, and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.workers import environment

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "outbox.md"
SECTIONS = {
    section.partition("\n")[0]: re.findall(
        r"^```(python|sh)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL
    )
    for section in DOCUMENT.read_text().split("\n## ")[1:]
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
    env = environment(topology, "disabled://")
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    if title == "Django":
        env["DJANGO_SETTINGS_MODULE"] = "support.django_project"
        env["LANEWAY_TEST_SQLITE"] = str(tmp_path / "django.db")
    if title == "When something goes wrong":
        run(
            ["laneway", "outbox", "create"],
            tmp_path,
            env | {"LANEWAY_OUTBOX_URL": "sqlite:///jobs.db"},
        )
    expected = []
    for language, block in SECTIONS[title]:
        if language == "sh":
            out = run(["sh", "-ec", block], tmp_path, env)
            expected = re.findall(r"^laneway .*--once  # (.*)$", block, re.MULTILINE)
            assert [line for line in out.splitlines() if "published" in line] == expected
            continue
        setup = DJANGO if title == "Django" else ""
        out = run([sys.executable, "-c", setup + block], tmp_path, env)
        assert out.splitlines() == re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)


def test_sections_with_blocks_are_found() -> None:
    assert sum(bool(blocks) for blocks in SECTIONS.values()) == 5


def run(command: list[str], folder: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

"""What a run of the benchmarks leaves: one JSON document, from which everything else is made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bench.account import NOTHING, Account
from bench.plan import MEASURES, measure
from bench.summary import Spread

if TYPE_CHECKING:
    from pathlib import Path

    from bench.plan import Measure, Visit
    from bench.systems import System


@dataclass
class Results:
    """Everything that was measured, and what it was measured on."""

    #: The machine, versions, the mode, when and for how long.
    about: dict[str, Any]
    #: Key to title, row and settings of each system that was measured.
    systems: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Key of a system that was not to why.
    absent: dict[str, str] = field(default_factory=dict)
    #: One entry a visit: run, group, system, values, account, notes.
    visits: list[dict[str, Any]] = field(default_factory=list)
    #: Visits that failed, in words.
    failures: list[str] = field(default_factory=list)

    def add_system(self, system: System) -> None:
        """Note that a system is measured."""
        self.systems[system.key] = {
            "title": system.title,
            "row": system.row,
            "settings": system.settings,
        }

    def add(
        self, visit: Visit, values: dict[str, float], account: Account, notes: dict[str, Any]
    ) -> None:
        """Note what a visit brought."""
        entry = {"run": visit.run, "group": visit.group, "system": visit.system.key}
        self.visits.append({**entry, "values": values, "account": asdict(account), "notes": notes})

    @property
    def measures(self) -> dict[str, Measure]:
        """What was measured, in the order of the report."""
        seen = {key for visit in self.visits for key in visit["values"]}
        growth = sorted((k for k in seen if k not in MEASURES), key=lambda k: int(k.split("_")[1]))
        return {key: measure(key) for key in (*MEASURES, *growth) if key in seen}

    def spread(self, system: str, key: str) -> Spread | None:
        """The values of a measure over all runs; None if there are none."""
        values = [
            float(visit["values"][key])
            for visit in self.visits
            if visit["system"] == system and key in visit["values"]
        ]
        return Spread.of(values) if values else None

    def account(self, system: str, group: str | None = None) -> Account:
        """The sum of the accounts of a system, of one group or all."""
        total = NOTHING
        for visit in self.visits:
            if visit["system"] == system and group in (None, visit["group"]):
                total += Account(**visit["account"])
        return total

    @property
    def lossy(self) -> list[str]:
        """The systems that lost a job."""
        return [key for key in self.systems if self.account(key).lost]

    @property
    def is_red(self) -> bool:
        """Whether the run counts as failed: a job was lost, or a system broke down."""
        return bool(self.lossy or self.failures)

    def save(self, file: Path) -> None:
        """Write the document."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> Results:
        """Read what :meth:`save` wrote."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))

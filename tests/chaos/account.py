"""The account: what became of every job that a producer tried to publish. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from chaos.ledger import What
from chaos.workload import DOOMED, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaos.ledger import Entry

Verdict = Literal["accepted", "refused", "maybe"]

_VERDICTS = {What.ACCEPTED: "accepted", What.REFUSED: "refused", What.MAYBE: "maybe"}


@dataclass(slots=True)
class Fate:
    """What is known of one job."""

    kind: Kind = Kind.ONE
    verdict: Verdict = "maybe"
    #: Starts of each attempt.
    starts: Counter[int] = field(default_factory=Counter)
    ends: int = 0
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Account:
    """The sums, and the names of what should not be."""

    accepted: int
    refused: int
    maybe: int
    #: Jobs whose publishing nobody answered for, and that nobody ever saw.
    never_came: int
    #: Accepted jobs, or those that may be, by how they ended. A job counts once, in this order.
    succeeded: int
    dead: int
    queued: int
    #: Accepted, and nowhere.
    lost: int
    lost_jobs: tuple[str, ...]
    #: Of the dead: jobs that were not made to fail.
    dead_unplanned: int
    #: Succeeded, and a dead letter all the same.
    dead_and_succeeded: int
    #: Starts of an attempt that had started before.
    duplicated: int
    #: Jobs with such a start.
    duplicated_jobs: int
    #: Dead letters of a job beyond its first.
    duplicated_letters: int
    #: Certainly refused, and seen all the same.
    ran_though_refused: int
    #: Starts that no producer knows of: the suite itself is wrong.
    strange: int

    @property
    def is_red(self) -> bool:
        """Whether a promise was broken."""
        return bool(self.lost or self.ran_though_refused or self.strange)


def account(
    entries: Iterable[Entry],
    *,
    queued: Mapping[int, int],
    dead: Mapping[int, int],
    letters: bool = True,
) -> Account:
    """Settle.

    Args:
        entries: the ledger, in any order between processes.
        queued: jobs in the messages that still wait, and in how many of them.
        dead: jobs in dead letters, and in how many of them.
        letters: whether the system keeps a letter of a job that failed for good; where it has none
            such a job has ended.
    """
    fates, strange = _fates(entries)
    sums: Counter[str] = Counter()
    lost: list[str] = []
    for number, fate in fates.items():
        sums[fate.verdict] += 1
        again = sum(count - 1 for count in fate.starts.values())
        sums["duplicated"] += again
        sums["duplicated_jobs"] += bool(again)
        sums["duplicated_letters"] += max(0, dead.get(number, 0) - 1)
        sums["dead_and_succeeded"] += bool(fate.ends and number in dead)
        seen = bool(fate.starts or number in queued or number in dead)
        if fate.verdict == "refused":
            sums["ran_though_refused"] += seen
        elif fate.ends or (fate.failed and not letters):
            sums["succeeded"] += 1
        elif number in dead:
            sums["dead"] += 1
            sums["dead_unplanned"] += fate.kind not in DOOMED
        elif number in queued:
            sums["queued"] += 1
        elif fate.verdict == "accepted" or fate.starts:
            lost.append(_words(number, fate))
        else:
            sums["never_came"] += 1
    names = (
        "accepted", "refused", "maybe", "never_came", "succeeded", "dead", "queued",
        "dead_unplanned", "dead_and_succeeded", "duplicated", "duplicated_jobs",
        "duplicated_letters", "ran_though_refused",
    )  # fmt: skip
    return Account(
        **{name: sums[name] for name in names},
        lost=len(lost),
        lost_jobs=tuple(lost[:50]),
        strange=strange,
    )


def _fates(entries: Iterable[Entry]) -> tuple[dict[int, Fate], int]:
    fates: dict[int, Fate] = {}
    sent: set[int] = set()
    for entry in entries:
        fate = fates.setdefault(entry.job, Fate())
        match What(entry.what):
            case What.SENDING:
                sent.add(entry.job)
                fate.kind = Kind(entry.detail)
            case What.STARTED:
                fate.starts[entry.detail] += 1
            case What.ENDED:
                fate.ends += 1
            case What.FAILED:
                fate.failed = True
            case What.RETRIED:
                pass
            case verdict:
                fate.verdict = _VERDICTS[verdict]  # type: ignore[assignment]
    strange = fates.keys() - sent
    for job in strange:
        del fates[job]
    return fates, len(strange)


def _words(number: int, fate: Fate) -> str:
    began = sum(fate.starts.values())
    how = f"began {began} times and never ended" if began else "never began"
    return f"{number} ({fate.kind.name.lower()}, {fate.verdict}): {how}"

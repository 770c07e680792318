"""The CDNOW purchases: every order of 23,570 customers of a record shop, January 1997 to June 1998.

The 69,659 rows are a text file inside the wheel of the package ``lifetimes``. The wheel is fetched
once, without its dependencies, checked, and only the text is kept: nothing of it is ever run.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_REQUIREMENT: Final = (
    "lifetimes==0.11.3 "
    "--hash=sha256:261e3dc89977c2b60767ca6728aaa29d429de0c814635070a749c36555895da8"
)
_MEMBER: Final = "lifetimes/datasets/CDNOW_master.txt"
_TEXT_SHA256: Final = "eff6889ed364c5199d6eacbbeb7a6d559971df4406ac876f322c373f00a072ef"
#: Seconds that the download may take.
_DOWNLOAD_DEADLINE: Final = 120
_COLUMNS: Final = ["customer_id", "date", "number_of_cds", "dollar_value"]


class PurchasesUnavailable(RuntimeError):
    """The data set is neither in the cache nor to be had from the package registry."""


class MalformedPurchases(ValueError):
    """A line of the data set is not a purchase; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What one customer bought on one day."""

    #: The place in the data set, from 1: the shop's order number.
    number: int
    #: The customer's number, from 1.
    customer: int
    #: The day of the purchase.
    day: date
    #: Compact discs bought.
    items: int
    #: The price paid in US cents; 0 in 80 rows, which the shop takes as invalid orders.
    cents: int

    @property
    def month(self) -> str:
        """The month as ``1997-01``."""
        return f"{self.day:%Y-%m}"


def parse_purchases(lines: Iterable[str]) -> list[Purchase]:
    """Read the lines of the data set: a header, then ``customer date items dollars``.

    Raises:
        MalformedPurchases: names the first line that is not a purchase.
    """
    rows = iter(lines)
    header = next(rows, "").split()
    if header != _COLUMNS:
        raise MalformedPurchases(f"line 1: expected the columns {_COLUMNS}, got: {header}")
    purchases: list[Purchase] = []
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            customer, day, items, dollars = row.split()
            units, _, hundredths = dollars.partition(".")
            purchases.append(
                Purchase(
                    number=number,
                    customer=int(customer),
                    day=_day(day),
                    items=int(items),
                    cents=int(units) * 100 + int(hundredths.ljust(2, "0")),
                )
            )
        except ValueError as error:
            raise MalformedPurchases(
                f"line {number + 1}: expected customer, yyyymmdd, items and dollars, "
                f"got: {row.strip()!r} ({error})"
            ) from error
    return purchases


def purchases_file() -> Path:
    """Where the text is kept: ``$XDG_CACHE_HOME``, else ``~/.cache``, then ``laneway/datasets``."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "laneway" / "datasets" / "CDNOW_master.txt"


def fetch_purchases(report: Callable[[str], None] = lambda _line: None) -> Path:
    """The file of the data set, fetched if it is not in the cache.

    Args:
        report: told in a line what takes time.

    Raises:
        PurchasesUnavailable: says why, and how to get the file otherwise.
    """
    file = purchases_file()
    if file.is_file() and _is_genuine(file.read_bytes()):
        return file
    report("fetching the CDNOW purchases (0.6 MB, once)")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".fetch-") as folder:
            text = _text_of(_download(Path(folder)))
            fresh = Path(folder, file.name)
            fresh.write_bytes(text)
            fresh.replace(file)
    except OSError as error:
        raise PurchasesUnavailable(
            f"expected to keep the CDNOW purchases at {file}, got: {error}. Set XDG_CACHE_HOME to "
            "a folder that can be written"
        ) from error
    return file


@lru_cache(maxsize=1)
def load_purchases() -> tuple[Purchase, ...]:
    """All purchases, in the order of the file; read once a process.

    Raises:
        PurchasesUnavailable: the file is not here and cannot be fetched.
    """
    with fetch_purchases().open(encoding="ascii") as lines:
        return tuple(parse_purchases(lines))


@lru_cache(maxsize=1024)
def _day(text: str) -> date:
    """The day of ``19970131``; the data set has 546 of them, each many times."""
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def _download(folder: Path) -> Path:
    """The checked wheel. A source package is never taken: pip would run code of it."""
    requirements = folder / "requirements.txt"
    requirements.write_text(_REQUIREMENT + "\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--requirement", str(requirements), "--dest", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 (a fixed command)
            command, capture_output=True, text=True, timeout=_DOWNLOAD_DEADLINE, check=False
        )
    except subprocess.TimeoutExpired:
        raise _unavailable(f"no answer within {_DOWNLOAD_DEADLINE} s") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said
        raise _unavailable(errors[-1] if errors else f"pip ended with {done.returncode}")
    return wheels[0]


def _text_of(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            text = archive.read(_MEMBER)
    except (KeyError, zipfile.BadZipFile) as error:
        raise _unavailable(f"{wheel.name} does not hold {_MEMBER}") from error
    if not _is_genuine(text):
        raise _unavailable(f"{_MEMBER} in {wheel.name} is not the text that was expected")
    return text


def _is_genuine(text: bytes) -> bool:
    return hashlib.sha256(text).hexdigest() == _TEXT_SHA256


def _unavailable(why: str) -> PurchasesUnavailable:
    package = _REQUIREMENT.split(maxsplit=1)[0]
    return PurchasesUnavailable(
        f"the example needs the CDNOW purchases, a text file inside the wheel of {package}, and "
        f"could not fetch it: {why}. Let pip reach a package registry (pip config, PIP_INDEX_URL, "
        f"a proxy), or put {Path(_MEMBER).name} of that wheel at {purchases_file()}"
    )

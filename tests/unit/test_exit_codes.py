"""The exit statuses: every error of Laneway has one, and it is the one that the table says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from laneway import errors
from laneway.account import BatchAccount
from laneway.cli.exit_codes import ExitCode, exit_code
from laneway.local import LocalServerError

if TYPE_CHECKING:
    from collections.abc import Iterator


def _make(kind: type[errors.LanewayError]) -> errors.LanewayError:
    if kind is errors.PolicyError:
        return errors.PolicyError(["why"])
    if kind is errors.BatchIncomplete:
        return errors.BatchIncomplete("why", account=BatchAccount(taken=0, accepted=()))
    return kind("why")


def leaves(kind: type[errors.LanewayError]) -> Iterator[type[errors.LanewayError]]:
    if kind.__module__ == "laneway.errors":
        yield kind
        for child in kind.__subclasses__():
            yield from leaves(child)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.UnknownQueue, ExitCode.REFUSED),
        (errors.InvalidPriority, ExitCode.REFUSED),
        (errors.SettingsError, ExitCode.REFUSED),
        (errors.QueueFull, ExitCode.REFUSED),
        (errors.LettersLocked, ExitCode.REFUSED),
        (errors.LetterUnknown, ExitCode.FAILED),
        (errors.BrokerUnreachable, ExitCode.BROKER),
        (errors.BrokerRefusedLogin, ExitCode.BROKER),
        (errors.VirtualHostMissing, ExitCode.BROKER),
        (errors.PublishTimeout, ExitCode.BROKER),
        (errors.BrokerError, ExitCode.BROKER),
        (errors.TopologyMissing, ExitCode.FAILED),
        (errors.Unroutable, ExitCode.FAILED),
        (errors.WorkerError, ExitCode.FAILED),
        (LocalServerError, ExitCode.FAILED),
    ],
)
def test_an_error_ends_with_its_status(kind: type[errors.LanewayError], status: ExitCode) -> None:
    assert exit_code(kind("why")) == status


def test_no_error_ends_as_success_or_as_a_usage_error() -> None:
    for kind in leaves(errors.LanewayError):
        assert exit_code(_make(kind)) in (ExitCode.REFUSED, ExitCode.BROKER, ExitCode.FAILED)

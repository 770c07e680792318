"""All checks, in the order in which one needs the other."""

from __future__ import annotations

from laneway.broker import broker_address
from laneway.checkup.broker import BrokerCheckup
from laneway.checkup.check import Check
from laneway.checkup.clock import clock_checks
from laneway.checkup.policy import policy_checks
from laneway.checkup.results import results_checks
from laneway.checkup.sentry import sentry_checks
from laneway.errors import LanewayError, PolicyError
from laneway.policy import load_policy


def check_up() -> list[Check]:
    """Look at everything, in the order in which one needs the other."""
    checks = list(policy_checks())
    try:
        policy, address = load_policy(), broker_address()
    except PolicyError:
        return checks  # said above
    except LanewayError as error:
        return [*checks, Check(subject="broker", verdict="fail", finding=str(error))]
    broker = BrokerCheckup(policy, address)
    return [
        *checks,
        *broker.checks(),
        *results_checks(),
        *sentry_checks(policy),
        *clock_checks(address),
    ]

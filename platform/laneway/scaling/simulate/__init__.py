"""What a scaling policy would have done with an arrival trace: no cluster, no broker, no clock."""

from laneway.scaling.simulate.compare import Comparison, Row, Spread, compare_policies
from laneway.scaling.simulate.outcome import Outcome
from laneway.scaling.simulate.policies import (
    Away,
    CpuHpa,
    Fixed,
    Laneway,
    MessageRate,
    Policy,
    QueueLength,
)
from laneway.scaling.simulate.run import Look, simulate
from laneway.scaling.simulate.trace import TRACES, Shape, Trace, make_trace
from laneway.scaling.simulate.tune import GOAL, better, tune
from laneway.scaling.simulate.world import World

__all__ = [
    # What arrives
    "Shape",
    "TRACES",
    "Trace",
    "make_trace",
    # What decides
    "Away",
    "CpuHpa",
    "Fixed",
    "Laneway",
    "MessageRate",
    "Policy",
    "QueueLength",
    # What comes of it
    "Comparison",
    "GOAL",
    "Look",
    "Outcome",
    "Row",
    "Spread",
    "World",
    "better",
    "compare_policies",
    "simulate",
    "tune",
]

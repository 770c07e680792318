"""What a scaling policy would have done with an arrival trace: no cluster, no broker, no clock."""

from laneway.scaling.simulate.compare import Comparison, Row, Spread, compare_policies
from laneway.scaling.simulate.outcome import Outcome
from laneway.scaling.simulate.policies import (
    CpuHpa,
    Fixed,
    KedaRabbitmq,
    Laneway,
    Policy,
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
    "CpuHpa",
    "Fixed",
    "KedaRabbitmq",
    "Laneway",
    "Policy",
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

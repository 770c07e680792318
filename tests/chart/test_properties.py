"""Whatever legal workers there are, the manifests are right; whatever is not legal is refused."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from support.chart import EVERYTHING, Manifests, render
from support.chart_cases import QUEUES
from support.chart_invariants import problems

#: A render takes some 60 ms of a processor.
EXAMPLES = 60

#: Some that YAML takes for something else than a text.
names = st.sampled_from(["y", "no", "on", "null", "true", "bulk"]) | st.from_regex(
    r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True
)
labels = st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.just("x"), max_size=2)


@st.composite
def workers(draw: st.DrawFn) -> dict[str, Any]:
    """One worker that makes sense."""
    pool = draw(st.sampled_from(["prefork", "direct", "threads", "gevent", "solo"]))
    limited = pool in {"prefork", "direct"}
    limit = draw(st.none() | st.integers(2, 7200)) if limited else None
    grace = draw(st.integers(0, 3600))
    stop = draw(st.sampled_from([0, 0, 5, 60]))
    kind = draw(st.sampled_from(["none", "hpa", "keda"]))
    vhost = draw(st.sampled_from(["jobs", "jobs", "secure"]))
    least = draw(st.integers(1, 9))
    by_hand = kind == "none" and draw(st.booleans())
    replicas = draw(st.none() | st.integers(0, 9)) if kind == "none" and not by_hand else None
    given_grace = draw(st.booleans())
    return {
        "summary": draw(st.text("abc, :#{}'\"", max_size=20)),
        "vhost": vhost,
        "pool": pool,
        "concurrency": 1 if pool == "solo" else draw(st.integers(1, 1000)),
        "serviceLevelSeconds": draw(st.sampled_from([0.5, 1, 30, 900, 86_400])),
        "softTimeLimitSeconds": draw(st.none() | st.integers(1, limit - 1)) if limit else None,
        "timeLimitSeconds": limit,
        "gracePeriodSeconds": grace,
        "handsBack": limit is None or grace < limit or draw(st.booleans()),
        "preStopSeconds": stop,
        "terminationGracePeriodSeconds": grace + stop + 15 + draw(st.integers(0, 99))
        if given_grace
        else None,
        "externallyScaled": by_hand,
        "replicas": replicas,
        "podLabels": draw(labels),
        "pdb": {"enabled": draw(st.booleans())},
        "networkPolicy": {"enabled": draw(st.sampled_from(["auto", "always", "never"]))},
        "autoscaling": {
            "type": kind,
            "min": least,
            "max": least + draw(st.integers(0, 90)),
            "scaleInAfterSeconds": draw(st.integers(0, 3600)),
        },
    }


@st.composite
def legal_values(draw: st.DrawFn) -> dict[str, Any]:
    """A map of workers, with the chart's own taken out or not."""
    made: dict[str, Any] = draw(st.dictionaries(names, workers(), min_size=1, max_size=4))
    for queue in QUEUES:
        if queue not in made and draw(st.booleans()):
            made[queue] = {"enabled": False}
    return {
        "workers": made,
        "fullnameOverride": draw(
            st.just("") | st.from_regex(r"[a-z][a-z0-9]{0,62}", fullmatch=True)
        ),
        "broker": {"vhostPrefix": draw(st.sampled_from(["", "staging-"]))},
        "commonLabels": draw(labels),
        "monitoring": {
            name: {"enabled": draw(st.booleans())}
            for name in ("podMonitor", "serviceMonitor", "prometheusRule", "dashboard")
        },
    }


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(legal_values())
def test_whatever_makes_sense_is_rendered_right(values: dict[str, Any]) -> None:
    manifests: Manifests = render(values, capabilities=EVERYTHING)
    event(f"{len(manifests.workers())} workers")
    assert problems(manifests, values) == []

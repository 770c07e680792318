"""Values that between them switch everything of the chart on and off."""

from __future__ import annotations

from typing import Any, Final

import yaml

from support.chart import CHART

QUEUES: Final = ("default", "high", "low", "secure")
TYPES: Final = ("none", "hpa", "keda")


def every_worker(**own: Any) -> dict[str, Any]:
    """Values that say the same of every worker."""
    return {"workers": dict.fromkeys(QUEUES, own)}


def told(queue: str, **own: Any) -> dict[str, Any]:
    """Values that say something of one worker."""
    return {"workers": {queue: own}}


def _file(name: str) -> dict[str, Any]:
    text = (CHART / f"values-{name}.yaml").read_text(encoding="utf-8")
    return dict(yaml.load(text, Loader=yaml.CSafeLoader))


_MORNING = {
    "timezone": "UTC",
    "start": "0 6 * * *",
    "end": "0 9 * * *",
    "desiredReplicas": "3",
}
_FROM_PROMETHEUS = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]

#: Name: what it sets.
CASES: Final[dict[str, dict[str, Any]]] = {
    "defaults": {},
    **{f"type-{kind}": every_worker(autoscaling={"type": kind}) for kind in TYPES},
    # KEDA on every queue at once, each as it alone is told, on somebody's broker.
    "keda-everywhere": {
        "broker": {"vhostPrefix": "staging-", "host": "rabbit.broker", "tls": True},
        "keda": {
            "jobs": {"hostKey": ""},
            "secure": {
                "existingSecret": "scaler-of-secure",
                "hostKey": "",
                "usernameKey": "user",
                "passwordKey": "word",
            },
        },
        "workers": {
            "high": {"autoscaling": {"type": "keda", "min": 3, "max": 30}},
            "default": {
                "autoscaling": {
                    "type": "keda",
                    "extraTriggers": [
                        {"type": "cron", "name": "morning", "metadata": _MORNING},
                    ],
                    "formula": "max([slots, morning])",
                }
            },
            "low": {
                "concurrency": 8,
                "autoscaling": {
                    "type": "keda",
                    "min": 0,
                    "max": 2,
                    "annotations": {"autoscaling.keda.sh/paused-scale-in": "true"},
                },
            },
            "secure": {"autoscaling": {"type": "keda", "pollingIntervalSeconds": 5}},
        },
    },
    "monitored": {
        "monitoring": {
            "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True, "alertLabels": {"team": "platform"}},
            "dashboard": {"enabled": True},
        }
    },
    "fenced": every_worker(
        networkPolicy={
            "enabled": "always",
            "metricsFrom": _FROM_PROMETHEUS,
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}]}],
        }
    ),
    "reported": {
        "sentry": {"existingSecret": "sentry", "secure": {"existingSecret": "sentry-secure"}},
        "keySecret": {"existingSecret": "keys"},
        "results": {"secure": {"existingSecret": "results-secure"}},
    },
    "user-and-password": {
        "broker": {
            "host": "rabbit.broker",
            "tls": True,
            "jobs": {"urlKey": ""},
            "secure": {"urlKey": ""},
            "control": {"urlKey": ""},
            "topology": {"urlKey": ""},
        }
    },
    "furnished": {
        "global": {"imageRegistry": "registry.example.com"},
        "imagePullSecrets": ["pull"],
        "commonLabels": {"team": "platform"},
        "commonAnnotations": {"owner": "platform"},
        "policy": {"existingConfigMap": "policy", "revision": "7"},
        "topology": {"hook": True},
        "workers": {
            "high": {
                "image": {"repository": "shop", "digest": f"sha256:{'a' * 64}"},
                "affinity": {"nodeAffinity": {}},
                "nodeSelector": {"pool": "fast"},
                "tolerations": [{"key": "fast", "operator": "Exists"}],
                "priorityClassName": "urgent",
                "runtimeClassName": "gvisor",
                "preStopSeconds": 5,
                "safeToEvict": "false",
                "doNotDisrupt": True,
                "env": {"SHOP": "north"},
                "extraEnv": [{"name": "FROM", "value": "here"}],
                "extraEnvFrom": [{"configMapRef": {"name": "shop"}}],
                "extraVolumes": [{"name": "data", "emptyDir": {}}],
                "extraVolumeMounts": [{"name": "data", "mountPath": "/data"}],
                "initContainers": [
                    {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}
                ],
                "sidecars": [{"name": "agent", "image": "agent:1"}],
                "extraArgs": ["--max-tasks-per-child=10"],
                "annotations": {"reloader": "true"},
                "podAnnotations": {"sidecar.istio.io/inject": "false"},
                "podLabels": {"tier": "front"},
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "rack",
                        "whenUnsatisfiable": "DoNotSchedule",
                    }
                ],
            }
        },
    },
    # What stands beside the chart, to be given with --values.
    "development": _file("development"),
    "rabbitmq": _file("rabbitmq"),
    "jobs-only": {"workers": {"secure": {"enabled": False}}, "results": {"enabled": False}},
}

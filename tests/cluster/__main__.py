"""The command: ``PYTHONPATH=tests python -m cluster``: a control plane until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from cluster.errors import ClusterUnavailable, StartFailed
from cluster.keda import keda
from cluster.plane import plane


def main() -> int:
    """Start a plane, say how to reach it, and wait for Ctrl-C or SIGTERM."""
    options = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    options.add_argument("--logs", type=Path, help="folder for the logs of the parts")
    options.add_argument("--keda", action="store_true", help="with KEDA on it")
    chosen = options.parse_args()
    # Ctrl-C is ignored by what a shell without job control runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    try:
        if chosen.logs is not None:
            chosen.logs.mkdir(parents=True, exist_ok=True)
        with ExitStack() as ending:
            started = ending.enter_context(plane(chosen.logs))
            if chosen.keda:
                ending.enter_context(keda(started))
            print(f"ready after {time.monotonic() - began:.0f} seconds; logs in {started.logs}")
            print(f"export KUBECONFIG={started.kubeconfig}")
            print(f"ip netns exec {started.netns} kubectl get namespaces", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except (ClusterUnavailable, StartFailed) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command: ``PYTHONPATH=tests python -m cluster``: a control plane until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from cluster.errors import ClusterUnavailable, StartFailed
from cluster.plane import plane


def main() -> int:
    """Start a plane, say how to reach it, and wait for Ctrl-C or SIGTERM."""
    options = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    options.add_argument("--logs", type=Path, help="folder for the logs of the parts")
    chosen = options.parse_args()
    # Ctrl-C is ignored by what a shell without job control runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    try:
        if chosen.logs is not None:
            chosen.logs.mkdir(parents=True, exist_ok=True)
        with plane(chosen.logs) as started:
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

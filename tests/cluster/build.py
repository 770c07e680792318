"""Builds the programs of the control plane and of KEDA with the Go toolchain.

``make cluster-tools`` runs it. Everything comes from the Go module proxy: Kubernetes and etcd at
the versions and checksums of tools/go.mod and tools/go.sum, KEDA by its own go.mod, go.sum and the
checksum below. What is built already is not built again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from cluster import programs
from cluster.errors import BuildFailed, ClusterUnavailable

_TOOLS: Final = Path(__file__).parent / "tools"
_KEDA_MODULE: Final = "github.com/kedacore/keda/v2"
_KEDA_SUM: Final = "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps="
_TAIL_LINES: Final = 30

# Without these the servers say that they are version 0.0.0, and clients believe it.
_VERSION: Final = " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in (
        ("gitVersion", f"v{programs.KUBERNETES}"),
        ("gitMajor", programs.KUBERNETES.split(".")[0]),
        ("gitMinor", programs.KUBERNETES.split(".")[1]),
        ("gitTreeState", "clean"),
    )
)
_KUBERNETES: Final = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
}
_KEDA: Final = {
    "keda-operator": "./cmd/operator",
    "keda-adapter": "./cmd/adapter",
    "keda-webhooks": "./cmd/webhooks",
}


def main() -> int:
    """Build what is missing. 1, with the reason on stderr, if something cannot be built."""
    try:
        build_all()
    except (ClusterUnavailable, BuildFailed) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def build_all() -> None:
    """Build what is missing, and say what and how long.

    Raises ClusterUnavailable without a Go toolchain, BuildFailed if the compiler says no.
    """
    if shutil.which("go") is None:
        raise ClusterUnavailable(
            "Go is missing, which builds the control plane: install Go 1.26 or newer "
            "(https://go.dev/doc/install) so that `go version` works, and run this again"
        )
    for name, package in _KUBERNETES.items():
        _build(programs.kubernetes_folder() / name, package, source=_TOOLS, variables=_VERSION)
    source = _keda_source()
    for name, package in _KEDA.items():
        version = f"-X {_KEDA_MODULE}/version.Version={programs.KEDA}"
        _build(programs.keda_folder() / name, package, source=source, variables=version)
    # Its custom resources, roles and services, as KEDA ships them.
    manifests = programs.keda_folder() / "config"
    if not manifests.exists():
        draft = manifests.with_name("config.new")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(source / "config", draft, copy_function=shutil.copyfile)
        draft.rename(manifests)
    print(f"the control plane is in {programs.kubernetes_folder()}")
    print(f"KEDA is in {programs.keda_folder()}")


def _build(target: Path, package: str, *, source: Path, variables: str) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"building {target.name} (minutes; nothing is shown meanwhile)", flush=True)
    began = time.monotonic()
    # Renamed when complete, so that what exists is whole. Go's own cache keeps what was compiled,
    # so that an interrupted build goes on where it was.
    draft = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        flags = ["-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {variables}"]
        _go(source, "build", *flags, "-o", str(draft), package)
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)
    minutes, megabytes = (time.monotonic() - began) / 60, target.stat().st_size / 1e6
    print(f"built {target.name} in {minutes:.1f} minutes ({megabytes:.0f} MB)", flush=True)


def _keda_source() -> Path:
    """KEDA's module in Go's cache, which is built where it is: it has no local replacements."""
    said = _go(_TOOLS, "mod", "download", "-json", f"{_KEDA_MODULE}@v{programs.KEDA}")
    module = json.loads(said)
    if module["Sum"] != _KEDA_SUM:
        raise BuildFailed(
            f"{_KEDA_MODULE} {programs.KEDA}: expected the checksum {_KEDA_SUM}, "
            f"got: {module['Sum']}; this is not the module that the tests were written for"
        )
    return Path(module["Dir"])


def _go(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["go", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"GOWORK": "off"},
    )
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).splitlines()[-_TAIL_LINES:])
        raise BuildFailed(
            f"go {' '.join(arguments)} (in {folder}): expected exit code 0, "
            f"got: {done.returncode}\n{tail}"
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())

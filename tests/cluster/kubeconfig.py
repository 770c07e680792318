"""KUBECONFIG files: who asks the API server, and by which certificate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.certificates import Pair


def write_kubeconfig(file: Path, *, server: str, authority: Path, pair: Pair) -> Path:
    """Write `file`: the client of `pair` at `server`, whose certificate `authority` signed."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "laneway",
                "cluster": {"server": server, "certificate-authority": str(authority)},
            }
        ],
        "users": [
            {
                "name": "user",
                "user": {
                    "client-certificate": str(pair.certificate),
                    "client-key": str(pair.key),
                },
            }
        ],
        "contexts": [{"name": "laneway", "context": {"cluster": "laneway", "user": "user"}}],
        "current-context": "laneway",
    }
    # YAML's own subset, so no writer of YAML is needed.
    file.write_text(json.dumps(document, indent=1))
    file.chmod(0o600)
    return file

"""The command of ``make run``: the shop on a private local platform, and what came of its jobs."""

from __future__ import annotations

import sys
from pathlib import Path

# In the place of this folder, which Python put first: `import mail` must not find the shop's.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from shop.cli import main  # noqa: E402 (importable only from here on)

if __name__ == "__main__":
    main()

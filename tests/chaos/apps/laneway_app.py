"""Laneway as it is."""

from __future__ import annotations

from chaos.apps.laneway import Chaos
from laneway import Laneway

app = Laneway("chaos")
publish = Chaos(app).publish

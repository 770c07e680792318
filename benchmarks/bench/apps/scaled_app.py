"""The application of the closed loop: jobs that wait, and write down when they ran."""

from __future__ import annotations

import os
import time

from laneway import Laneway

app = Laneway("scaled")
app.conf.task_ignore_result = True


@app.task(name="scaled.wait")
def wait(number: int, sent: float, runtime: float) -> None:
    """Take ``runtime`` seconds, then append one line; lines of this length are written whole."""
    started = time.time()
    time.sleep(runtime)
    line = f"{number},{sent:.6f},{started:.6f},{time.time():.6f}\n"
    journal = os.open(os.environ["SCALED_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(journal, line.encode())
    finally:
        os.close(journal)

"""What a worker says on its stderr, told apart: facts, log records and everything else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from laneway.facts import Fact

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes of a worker's log before it is set aside once (as ``NAME.log.1``) and begun again.
MAX_LOG_BYTES: Final = 5 * 1024 * 1024


def parse_line(line: str) -> Fact | str:
    """A fact, or the line as a person wants to read it.

    ``{"fact": {...}}`` is a fact, ``{"log": {...}}`` a log record; what is neither (a banner, the
    traceback of a worker that cannot start) stays as it is.
    """
    line = line.rstrip("\n")
    if not line.startswith("{"):
        return line
    try:
        document = json.loads(line)
    except ValueError:
        return line
    match document:
        case {"fact": {"kind": str(), "at": float() | int(), **_rest} as fields}:
            return Fact.from_dict(fields)
        case {"log": {"message": str()} as record}:
            return _readable(record)
        case _:
            return line


def _readable(record: dict[str, Any]) -> str:
    """The record as :class:`laneway.log.TextFormatter` would have written it."""
    words = []
    if isinstance(at := record.get("at"), float | int):
        words.append(datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3])
    words += [str(record[key]) for key in ("level", "logger") if key in record]
    text = ": ".join(filter(None, [" ".join(words), str(record["message"])]))
    return f"{text}\n{record['traceback']}" if "traceback" in record else text


class LogFile:
    """A worker's log: appended to, never larger than twice :data:`MAX_LOG_BYTES` on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8", errors="replace")

    def write(self, line: str) -> None:
        """Append a line; it is on disk when this returns."""
        self._file.write(line + "\n")
        self._file.flush()
        if self._file.tell() > MAX_LOG_BYTES:
            self._file.close()
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._file = self.path.open("a", encoding="utf-8", errors="replace")

    def fileno(self) -> int:
        """For a process that writes to it directly."""
        return self._file.fileno()

    def tail(self, lines: int) -> str:
        """The last ``lines`` lines."""
        return "\n".join(self.path.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()

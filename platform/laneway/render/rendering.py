"""What a renderer makes, compared with what stands in a checkout, and written there."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from laneway.errors import LanewayError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """Files made of the policy."""

    files: Mapping[str, str]
    """Path below the checkout: all of the text."""
    owned: tuple[str, ...] = ()
    """Globs below the checkout: what is there and is not among ``files`` is left over."""

    def drift(self, root: Path) -> dict[str, str]:
        """What differs in ``root``: path to unified diff, in the order of the paths.

        Raises:
            LanewayError: a file cannot be read.
        """
        found = {}
        for path in sorted({*self.files, *self._left_over(root)}):
            is_there, should_be = _read(root, path), self.files.get(path)
            if is_there != should_be:
                found[path] = "".join(_diff(path, is_there, should_be))
        return found

    def write(self, root: Path) -> list[str]:
        """Make ``root`` agree, and return the paths that were written or deleted.

        Raises:
            LanewayError: a file cannot be read or written.
        """
        changed = list(self.drift(root))
        for path in changed:
            try:
                if path in self.files:
                    (root / path).parent.mkdir(parents=True, exist_ok=True)
                    (root / path).write_text(self.files[path], encoding="utf-8")
                else:
                    (root / path).unlink()
            except OSError as error:
                raise LanewayError(f"{root / path}: expected to write it, got: {error}") from error
        return changed

    def _left_over(self, root: Path) -> Iterator[str]:
        for pattern in self.owned:
            for file in root.glob(pattern):
                yield file.relative_to(root).as_posix()


def _read(root: Path, path: str) -> str | None:
    try:
        return (root / path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LanewayError(f"{root / path}: expected to read it, got: {error}") from error


def _diff(path: str, old: str | None, new: str | None) -> Iterator[str]:
    """A unified diff that ``patch -p1`` understands."""
    lines = difflib.unified_diff(
        (old or "").splitlines(keepends=True),
        (new or "").splitlines(keepends=True),
        "/dev/null" if old is None else f"a/{path}",
        "/dev/null" if new is None else f"b/{path}",
    )
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"

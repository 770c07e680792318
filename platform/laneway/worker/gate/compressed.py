"""Decompressing what others compressed, and never more than was asked for.

kombu's own decompression has no bound: a kilobyte of zeros becomes a gigabyte in the worker.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Bytes of memory that the decompressor of LZMA may take for itself.
_LZMA_MEMORY: Final = 128 * 1024 * 1024

#: kombu's names (``task_compression``) of what can be decompressed within a bound.
_DECOMPRESSORS: Final[Mapping[str, Callable[[], Any]]] = {
    "application/x-gzip": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY),
}


class CompressionRefused(ValueError):
    """The body is not what its header says, or too much."""


def decompress(body: bytes, kind: str, most: int) -> bytes:
    """The decompressed body.

    Args:
        body: one whole stream, and nothing behind it.
        kind: the value of kombu's header ``compression``.
        most: bytes that it may have then.

    Raises:
        CompressionRefused: another kind of compression, no whole stream, or more than ``most``.
    """
    make = _DECOMPRESSORS.get(kind)
    if make is None:
        known = ", ".join(_DECOMPRESSORS)
        raise CompressionRefused(f"expected a compression of {known}, got: {kind[:80]!r}")
    decompressor = make()
    try:
        plain: bytes = decompressor.decompress(body, most + 1)
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError, MemoryError) as error:
        raise CompressionRefused(f"expected {kind}, got what it cannot decompress") from error
    if len(plain) > most:
        raise CompressionRefused(f"expected {most} bytes at most after decompression, got more")
    if not decompressor.eof or decompressor.unused_data:
        raise CompressionRefused(f"expected one whole stream of {kind}")
    return plain

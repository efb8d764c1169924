"""Compressed files as streams of what is in them, bounded so that no bomb goes off.

In: a path and its name's ending. Out: a binary stream. Nothing is unpacked to disk here; archives
of many files are `unpack`'s.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from noria.errors import InputError, MissingExtra

ENDINGS = (".gz", ".bz2", ".xz", ".zst")
MAX_RATIO = 200  # text shrinks to a third, tables of it to a thirtieth
FREE_BYTES = 64 << 20  # so much may come out of however little
MAX_BYTES = 64 << 30
MAX_DICTIONARY_BYTES = 256 << 20  # of .xz and .zst: what the decoder holds in memory
_PIECE_BYTES = 1024
TORN = (gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)


def ending_of(name: str) -> str:
    """The ending that says how a file is compressed, or nothing."""
    return next((one for one in ENDINGS if name.lower().endswith(one)), "")


@contextmanager
def open_stream(path: Path, ending: str) -> Iterator[BinaryIO]:
    """Open a file, decompressed if its ending says so.

    Reading raises InputError where more comes out than MAX_RATIO times what went in, OSError or
    one of TORN for damaged files. Raises MissingExtra for .zst without the library.
    """
    with path.open("rb") as raw:
        if not ending:
            yield raw
            return
        with _decompressed(raw, ending) as out:
            yield io.BufferedReader(_Bounded(raw, out, path.name), 1 << 18)


def _decompressed(raw: BinaryIO, ending: str) -> IO[bytes]:
    if ending == ".gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if ending == ".bz2":
        return bz2.BZ2File(raw)
    if ending == ".xz":
        return io.BufferedReader(_Frames(raw, _new_xz, lzma.LZMAError))
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtra("zstandard, which reads .zst,", "data") from error
    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_DICTIONARY_BYTES)
    return io.BufferedReader(_Frames(raw, decoder.decompressobj, zstandard.ZstdError))


def _new_xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY_BYTES)


class _Bounded(io.RawIOBase):
    """Passes bytes on and counts what went in and what came out."""

    def __init__(self, raw: BinaryIO, out: IO[bytes], name: str) -> None:
        self._raw, self._out, self._name = raw, out, name
        self._num_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._out.read(len(buffer))
        buffer[: len(data)] = data
        self._num_bytes += len(data)
        allowed = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * self._raw.tell()))
        if self._num_bytes > allowed:
            raise InputError(
                f"{self._name} unpacks to more than {MAX_RATIO} times its size, or more than "
                f"{MAX_BYTES >> 30} GiB",
                "compressed text",
                "unpack it yourself if you trust it",
            )
        return len(data)


class _Frames(io.RawIOBase):
    """What .xz and .zst files hold, one frame after the other.

    Both decoders hand out all that a piece of input holds: so the pieces are small.
    """

    def __init__(self, raw: BinaryIO, new: Callable[[], Any], error: type[Exception]) -> None:
        self._raw, self._new, self._error = raw, new, error
        self._decoder = new()
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._ready:
            if self._decoder.eof:
                rest = (self._decoder.unused_data or self._raw.read(_PIECE_BYTES)).lstrip(b"\0")
                if not rest:
                    return 0
                self._decoder = self._new()
            else:
                rest = self._raw.read(_PIECE_BYTES)
                if not rest:
                    raise EOFError("the compressed data end too early")
            try:
                self._ready = self._decoder.decompress(rest)
            except self._error as error:
                raise EOFError(str(error)) from error
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

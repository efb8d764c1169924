"""A file's header, read in order through one window, within bounds that the file can't move.

In: an open file. Out: numbers, strings and arrays of them. Every length is compared with what is
left of the file before it is used, and what the values will occupy in memory is counted while they
are read. This module does not know what the values mean.
"""

from __future__ import annotations

import struct
from pathlib import Path
from sys import getsizeof
from typing import Any, BinaryIO, final

import numpy as np
import numpy.typing as npt

from noria.errors import FormatError

WINDOW_BYTES = 2**20
MAX_STRING_BYTES = WINDOW_BYTES  # a chat template has thousands of bytes
MAX_HEADER_BYTES = 64 * 2**20  # the largest vocabularies of today fill 20 MB
MAX_ELEMENTS = 1_400_000  # of all arrays; 262,144 tokens and their merges are 1.3 million
SPARE_BYTES = 16 * 2**20  # beside the file's own size; windows and decoding take as much again

_OBJECT_BYTES = 32  # a Python number beyond the small ones, which are shared
_SLOT_BYTES = 8
_ROUNDING_BYTES = 16  # what an allocator may add to an object
_uint32_at = struct.Struct("<I").unpack_from
_uint64_at = struct.Struct("<Q").unpack_from


def refusal(path: Path, what: str, expected: str) -> FormatError:
    """The error for a file that lies about itself."""
    return FormatError(f"{path}: {what}", expected, "fetch or export the file again")


@final
class BoundedReader:
    """The beginning of a little-endian file, read once from front to back."""

    def __init__(self, path: Path, file: BinaryIO, file_bytes: int) -> None:
        self._path = path
        self._file = file
        self._file_bytes = file_bytes
        self._window = b""
        self._position = 0  # within the window
        self._window_end = 0  # within the file
        self._spare_bytes = file_bytes + SPARE_BYTES
        self._spare_elements = MAX_ELEMENTS

    @property
    def offset(self) -> int:
        """The byte of the file that is read next."""
        return self._window_end - len(self._window) + self._position

    def charge(self, num_bytes: int) -> None:
        """Count memory that the values read so far occupy. Raises FormatError beyond the bound."""
        self._spare_bytes -= num_bytes
        if self._spare_bytes < 0:
            bound = self._file_bytes + SPARE_BYTES
            raise self._refusal("metadata of more memory than the file is worth", f"{bound} bytes")

    def take(self, num_bytes: int) -> bytes:
        """The next bytes, at most a window of them. Raises FormatError if the file ends before."""
        self._fill(num_bytes)
        start = self._position
        self._position += num_bytes
        return self._window[start : self._position]

    def uint32(self) -> int:
        """The next 4 bytes as a number."""
        return int(_uint32_at(self.take(4))[0])

    def uint64(self) -> int:
        """The next 8 bytes as a number."""
        return int(_uint64_at(self.take(8))[0])

    def string(self, max_bytes: int = MAX_STRING_BYTES) -> str:
        """The next string: its length as 8 bytes, then UTF-8. Raises FormatError if it is not."""
        length = self.uint64()
        if length > max_bytes:
            raise self._refusal(f"a string of {length} bytes", f"at most {max_bytes}")
        try:
            text = self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._refusal(f"a string that is no text ({error.reason})", "UTF-8") from error
        self.charge(getsizeof(text) + _ROUNDING_BYTES)
        return text

    def strings(self, count: int) -> list[str]:
        """The next `count` strings. Raises FormatError if they can't all be in the file."""
        self._expect(count, 8)
        values: list[str] = []
        while len(values) < count:
            batch = self._strings_in_window(count - len(values))
            self.charge(sum(map(getsizeof, batch)) + _ROUNDING_BYTES * len(batch))
            values += batch or [self.string()]
        return values

    def numbers(self, dtype: np.dtype[Any], count: int) -> list[int | float | bool]:
        """The next `count` numbers of a type.

        Raises FormatError if they can't all be in the file, or a truth value is neither 0 nor 1.
        """
        self._expect(count, dtype.itemsize)
        values: list[int | float | bool] = []
        while len(values) < count:
            batch = min(count - len(values), WINDOW_BYTES // 8)
            raw = self.take(batch * dtype.itemsize)
            if dtype.kind == "b" and max(raw) > 1:
                raise self._refusal(f"a truth value of {max(raw)}", "0 or 1")
            array = np.frombuffer(raw, dtype)
            self.charge(_OBJECT_BYTES * _num_objects(array))
            values += array.tolist()
        return values

    def _expect(self, count: int, element_bytes: int) -> None:
        """Count an array's elements before any is read."""
        left = self._file_bytes - self.offset
        if count > self._spare_elements or count * element_bytes > left:
            expected = f"at most {min(self._spare_elements, left // element_bytes)}"
            raise self._refusal(f"an array of {count} elements", expected)
        self._spare_elements -= count
        self.charge(count * _SLOT_BYTES)

    def _strings_in_window(self, count: int) -> list[str]:
        """As many of the next strings as the window holds whole. It runs for millions of them."""
        self._fill(8)
        window, position, values = self._window, self._position, []
        window_bytes = len(window)
        last = window_bytes - 8
        try:
            for _ in range(count):
                if position > last:
                    break
                start = position + 8
                end = start + _uint64_at(window, position)[0]
                if end > window_bytes:
                    break
                values.append(window[start:end].decode("utf-8"))
                position = end
        except UnicodeDecodeError as error:
            raise self._refusal(f"a string that is no text ({error.reason})", "UTF-8") from error
        self._position = position
        return values

    def _fill(self, num_bytes: int) -> None:
        """Have at least `num_bytes` of the file in the window."""
        if len(self._window) - self._position >= num_bytes:
            return
        wanted_end = self.offset + num_bytes
        if wanted_end > self._file_bytes:
            raise self._refusal(f"{self._file_bytes} bytes", f"{wanted_end} or more, by its header")
        if wanted_end > MAX_HEADER_BYTES:
            raise self._refusal("a header that goes on", f"its end within {MAX_HEADER_BYTES} bytes")
        rest = self._window[self._position :]
        more = self._file.read(WINDOW_BYTES - len(rest))
        self._window_end += len(more)
        self._window = rest + more
        self._position = 0
        if len(self._window) < num_bytes:
            raise self._refusal("a file that became shorter", "one that nobody writes to")

    def _refusal(self, what: str, expected: str) -> FormatError:
        return refusal(self._path, f"{what}, at byte {self.offset}", expected)


def _num_objects(array: npt.NDArray[Any]) -> int:
    """How many of the numbers become Python objects of their own."""
    if array.dtype.kind == "b":
        return 0
    if array.dtype.kind == "f":
        return array.size
    return int(np.count_nonzero((array > 256) | (array < -5)))

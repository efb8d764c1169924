"""Clean records to one part of a table on disk.

In: clean records, from whoever made them. Out: the files of a part, whole or not there; what is in
them stands in `table`.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from noria.artifacts import atomic_write
from noria.corpus.contents import record_text
from noria.corpus.language import guess_script
from noria.corpus.minhash import NUM_BANDS, MinHasher
from noria.corpus.shingles import normal_digest, text_digest
from noria.corpus.table import COLUMNS, LINES, SHAPE_NAMES, WORDS
from noria.records import Record, record_line, shape_of


@final
class PartWriter:
    """Writes one part; nobody takes it for one before `close`."""

    def __init__(self, folder: Path, number: int, hasher: MinHasher) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{number:06}"
        self._hasher = hasher
        self._file = self.path.with_suffix(LINES).open("wb")
        self._words = self.path.with_suffix(WORDS).open("wb")
        self._num_words = 0
        self._rows: list[tuple[Any, ...]] = []
        self._bands = array("Q")
        self._strings: dict[str, int] = {"": 0}

    def add(self, record: Record, language: str) -> None:
        """Write a record and note what the steps will ask; language: what is counted of it."""
        line, text, source = record_line(record), record_text(record), record.source
        words = self._hasher.words(text)
        named = record.language
        strings = (source.file, record.group, language, named, guess_script(text))
        numbers = [self._strings.setdefault(one, len(self._strings)) for one in strings]
        offset = self._file.tell()
        self._file.write(line)
        self._words.write(words.astype("<u8", copy=False).tobytes())
        self._rows.append(
            (
                *(0, *numbers),
                *(source.line, source.byte_start, source.byte_end, offset, len(line)),
                *(len(text), len(text.encode("utf-8")), self._num_words, len(words)),
                *(text_digest(text), normal_digest(text)),
                *(SHAPE_NAMES.index(shape_of(record)), record.synthetic),
            )
        )
        self._num_words += len(words)
        self._bands.extend(self._hasher.bands(words).tolist())

    def close(self, about: Mapping[str, Any]) -> None:
        """Finish the part, with what its maker has to say, in JSON values."""
        self._file.close()
        self._words.close()
        np.savez(
            self.path.with_suffix(".npz"),
            columns=np.array(self._rows, COLUMNS),
            bands=np.array(self._bands, np.uint64).reshape(-1, NUM_BANDS),
        )
        whole = {**about, "strings": list(self._strings)}
        atomic_write(
            self.path.with_suffix(".json"), json.dumps(whole, ensure_ascii=False).encode("utf-8")
        )


def is_whole(folder: Path, number: int) -> bool:
    """Whether a part of that number was finished."""
    return (folder / f"{number:06}.json").exists()

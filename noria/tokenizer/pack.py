"""Token shards: what a trainer reads, as three flat files.

In: records, or sequences of ids with masks. Out: a folder that is mapped into memory.
This module does not know batches or windows.

    tokens.bin   num_tokens ids, uint16 or uint32, little-endian; the first is the end token
    mask.bin     num_tokens bytes, 1 where the token counts as a target of the loss
    starts.bin   where each sequence begins: num_sequences positions, int64, little-endian
    shard.json   format, dtype and the counts
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from noria.errors import FormatError, UsageError
from noria.records import Conversation, Document, Pair, Record, content_text, shape_of
from noria.tokenizer.chat import refused_chat, render_chat
from noria.tokenizer.load import Tokenizer
from noria.tokenizer.specials import END_ID

SHARD_FORMAT = 2
READABLE_FORMATS = (1, 2)  # 1 had no starts.bin: every end token ended a sequence
DTYPES: dict[str, np.dtype[Any]] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
STARTS_DTYPE = np.dtype("<i8")
_BATCH_RECORDS = 512

Sequenced = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Shard:
    """A shard mapped into memory: tokens (N,) uint16 or uint32, mask (N,) uint8.

    `starts` (S,) int64 are the positions of the first tokens of its sequences.
    """

    tokens: npt.NDArray[Any]
    mask: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    num_tokens: int


def fitting_records(
    tokenizer: Tokenizer,
    records: Iterable[Record],
    refuse: Callable[[Conversation, str], None] = lambda record, reason: None,
) -> Iterator[Record]:
    """The records that the tokenizer's chat format can spell, in order.

    `refuse` hears of every other one and the reason: a conversation whose order of roles, or whose
    system message, the format does not have. Left in, it would stop `encode_records`.
    """
    for record in records:
        if isinstance(record, Conversation):
            reason = refused_chat(tokenizer, record.messages)
            if reason:
                refuse(record, reason)
                continue
        yield record


def encode_record(tokenizer: Tokenizer, record: Record) -> Sequenced:
    """Turn a record into ids and mask; every sequence ends with `end_id`.

    Document: all count. Conversation: the assistant's turns count. Pair: the target and its end
    count. A sequence begins with the tokenizer's `start_ids`, which don't count; where that is the
    end token, it is the one that the sequence before has left, and not repeated. Raises UsageError
    for a shape that is not generated from.
    """
    return next(encode_records(tokenizer, [record]))


def encode_records(tokenizer: Tokenizer, records: Iterable[Record]) -> Iterator[Sequenced]:
    """Turn records into ids and masks, in order; documents are encoded many at a time."""
    waiting = iter(records)
    while batch := list(islice(waiting, _BATCH_RECORDS)):
        texts = [content_text(one.content) for one in batch if isinstance(one, Document)]
        encoded = iter(tokenizer.encode_batch(texts))
        for record in batch:
            if isinstance(record, Document):
                ids = [*next(encoded), tokenizer.end_id]
                yield _started(tokenizer, ids, [1] * len(ids))
            else:
                yield _started(tokenizer, *_encode_dialogue(tokenizer, record))


def _started(tokenizer: Tokenizer, ids: list[int], mask: list[int]) -> Sequenced:
    start = [] if tokenizer.start_ids == (tokenizer.end_id,) else list(tokenizer.start_ids)
    return start + ids, [0] * len(start) + mask


def _encode_dialogue(tokenizer: Tokenizer, record: Record) -> Sequenced:
    match record:
        case Conversation():
            chat = render_chat(tokenizer, record.messages, add_answer_prompt=False)
            ids, mask = list(chat.ids), list(chat.mask)
            if ids[-1] != tokenizer.end_id:  # the next sequence starts after an end, as all do
                ids.append(tokenizer.end_id)
                mask.append(0)
            return ids, mask
        case Pair():
            given = tokenizer.encode(content_text(record.input))
            target = tokenizer.encode(content_text(record.target), continues=True)
            target.append(tokenizer.end_id)
            return given + target, [0] * len(given) + [1] * len(target)
        case _:
            raise UsageError(
                f"a record of shape {shape_of(record)}", "a document, a conversation or a pair"
            )


def write_shard(
    folder: Path,
    sequences: Iterable[tuple[Sequence[int], Sequence[int] | None]],
    vocab_size: int,
    end_id: int = END_ID,
) -> dict[str, Any]:
    """Write sequences one behind the other; a mask of None counts every token. Returns the facts.

    `end_id`: the tokenizer's, which stands before the first. Facts: dtype, num_tokens (the leading
    `end_id` included), num_sequences, num_trained_tokens.
    Raises UsageError for an id outside the vocabulary or a mask of another length.
    The caller owns atomicity.
    """
    if not 0 <= end_id < vocab_size:
        raise UsageError(f"end token {end_id}", f"0 to {vocab_size - 1}")
    name = "uint16" if vocab_size <= 1 << 16 else "uint32"
    folder.mkdir(parents=True, exist_ok=True)
    num_tokens, num_trained = 1, 0
    starts: list[int] = []
    with (folder / "tokens.bin").open("wb") as tokens, (folder / "mask.bin").open("wb") as masks:
        tokens.write(np.array([end_id], DTYPES[name]).tobytes())
        masks.write(b"\x00")
        for ids, mask in sequences:
            row = np.asarray(ids, np.int64)
            counted = np.ones(len(row), np.uint8) if mask is None else np.asarray(mask, np.uint8)
            _check_sequence(row, counted, vocab_size)
            tokens.write(row.astype(DTYPES[name]).tobytes())
            masks.write(counted.tobytes())
            starts.append(num_tokens)
            num_tokens += len(row)
            num_trained += int(counted.sum())
    (folder / "starts.bin").write_bytes(np.array(starts, STARTS_DTYPE).tobytes())
    facts = {
        "dtype": name,
        "num_tokens": num_tokens,
        "num_sequences": len(starts),
        "num_trained_tokens": num_trained,
    }
    text = json.dumps({"format": SHARD_FORMAT, **facts}, indent=1)
    (folder / "shard.json").write_text(text, encoding="utf-8")
    return facts


def _check_sequence(
    ids: npt.NDArray[np.int64], mask: npt.NDArray[np.uint8], vocab_size: int
) -> None:
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
        raise UsageError(f"token ids {ids.min()} to {ids.max()}", f"0 to {vocab_size - 1}")
    if ids.shape != mask.shape or (mask.size and int(mask.max()) > 1):
        raise UsageError(f"a mask of {mask.size} values", f"0 or 1 for each of {ids.size} ids")


def open_shard(folder: Path) -> Shard:
    """Map a shard into memory, read-only.

    Raises FormatError if the description can't be read or a file has not the size it states.
    """
    path = folder / "shard.json"
    try:
        described = json.loads(path.read_bytes())
        version, num_tokens = described["format"], described["num_tokens"]
        dtype = DTYPES[described["dtype"]]
        num_sequences = described["num_sequences"]
        if version not in READABLE_FORMATS or type(num_tokens) is not int or num_tokens < 1:
            raise ValueError(f"format {version!r}, {num_tokens!r} tokens")
        sizes = {"tokens.bin": num_tokens * dtype.itemsize, "mask.bin": num_tokens}
        if version > 1:
            sizes["starts.bin"] = num_sequences * STARTS_DTYPE.itemsize
        for name, size_bytes in sizes.items():
            found_bytes = (folder / name).stat().st_size
            if found_bytes != size_bytes:
                raise ValueError(f"{name} has {found_bytes} bytes instead of {size_bytes}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{path}: {error}", f"a token shard of format {SHARD_FORMAT}", "pack it again"
        ) from error
    tokens = np.memmap(folder / "tokens.bin", dtype, mode="r")
    if version > 1:
        starts = np.fromfile(folder / "starts.bin", STARTS_DTYPE)
    else:
        starts = np.flatnonzero(tokens[:-1] == tokens[0]) + 1
    bounds = np.concatenate([[1], starts, [num_tokens]])
    if (np.diff(bounds) < 0).any():
        raise FormatError(f"{path}: starts out of order", "rising positions", "pack it again")
    mask = np.memmap(folder / "mask.bin", np.uint8, mode="r")
    return Shard(tokens, mask, starts, num_tokens)

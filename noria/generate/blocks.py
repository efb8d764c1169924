"""Keys and values of all sequences of an engine, in blocks that sequences with one beginning share.

In: which tokens a block will hold. Out: numbers of blocks. A block that is full has a name, the
digest of its tokens and of everything before them, of whose they are and of the weights that read
them; whoever asks for the same name reads the same block. A block that nobody reads keeps its name
until its room is needed: the one that was left longest ago goes first.
This module does not know models, requests or attention.
Legend: L layers, N blocks, P tokens of a block, K key-value heads, D head width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import torch

from noria.model.config import ModelConfig

DIGEST_BYTES = 32
PADDING_BLOCK = 0  # always zero: what stands behind the end of a shorter sequence


def root_name(owner: str, weight_hash: str) -> bytes:
    """The name that a chain begins with: two owners never have one in common, nor two models."""
    written = f"{weight_hash}\0{owner}".encode()
    return blake2b(written, digest_size=DIGEST_BYTES, person=b"owner").digest()


def block_name(parent: bytes, ids: Sequence[int]) -> bytes:
    """The name of a full block of these tokens behind `parent`."""
    written = b"".join(one.to_bytes(4, "little") for one in ids)
    return blake2b(parent + written, digest_size=DIGEST_BYTES, person=b"block").digest()


def source_name(root: bytes, number: int) -> bytes:
    """The name of a block of a source. Each holds what an encoder made of all of the source."""
    written = root + number.to_bytes(4, "little")
    return blake2b(written, digest_size=DIGEST_BYTES, person=b"source").digest()


def bytes_per_block(config: ModelConfig, block_tokens: int, dtype: torch.dtype) -> int:
    """What keys and values of one block take, in all layers."""
    return 2 * config.num_layers * block_tokens * config.kv_width * dtype.itemsize


class BlockPool:
    """`num_blocks` blocks and one of zeros, allocated once.

    A block is free, or has readers, or is kept for its name alone. The memory is the system's to
    hand out page by page: what was never used takes no room.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_blocks: int,
        block_tokens: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (config.num_layers, num_blocks + 1, block_tokens)
        shape = (*shape, config.num_kv_heads, config.head_width)  # type: ignore[assignment]
        self.keys = torch.empty(shape, dtype=dtype, device=device)  # (L, N, P, K, D)
        self.values = torch.empty(shape, dtype=dtype, device=device)
        self.num_blocks = num_blocks
        self.block_tokens = block_tokens
        self._free = list(range(num_blocks, PADDING_BLOCK, -1))
        self._num_readers = [0] * (num_blocks + 1)
        self._name_of: dict[int, bytes] = {}
        self._block_of: dict[bytes, int] = {}
        self._kept: OrderedDict[int, None] = OrderedDict()  # without readers, the oldest first
        self._clear(PADDING_BLOCK)

    @property
    def num_free(self) -> int:
        """Blocks that `take` can give."""
        return len(self._free) + len(self._kept)

    @property
    def num_read(self) -> int:
        """Blocks that somebody reads."""
        return self.num_blocks - self.num_free

    def take(self) -> int | None:
        """A block of zeros for one reader, or None if all are being read."""
        if self._free:
            block = self._free.pop()
        elif self._kept:
            block, _ = self._kept.popitem(last=False)
            del self._block_of[self._name_of.pop(block)]
        else:
            return None
        # What is masked is multiplied by zero, and what was here before could be no number.
        self._clear(block)
        self._num_readers[block] = 1
        return block

    def find(self, names: Iterable[bytes]) -> list[int]:
        """The blocks of the first names that are known; each has one more reader."""
        found = []
        for name in names:
            block = self._block_of.get(name)
            if block is None:
                break
            self._kept.pop(block, None)
            self._num_readers[block] += 1
            found.append(block)
        return found

    def knows(self, name: bytes) -> bool:
        """Whether a block has this name."""
        return name in self._block_of

    def name(self, block: int, name: bytes) -> None:
        """Let others find a full block; of two with one content the first keeps the name."""
        if name not in self._block_of:
            self._block_of[name] = block
            self._name_of[block] = name

    def give_back(self, blocks: Sequence[int]) -> None:
        """One reader less for each; the last of a sequence are forgotten first."""
        for block in reversed(blocks):
            self._num_readers[block] -= 1
            if self._num_readers[block]:
                continue
            if block in self._name_of:
                self._kept[block] = None
            else:
                self._free.append(block)

    def _clear(self, block: int) -> None:
        self.keys[:, block] = 0
        self.values[:, block] = 0

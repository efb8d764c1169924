"""Blocks of keys and values: found by content and owner, reused in order, never dirty."""

from __future__ import annotations

from random import Random

import pytest

from noria.generate.blocks import BlockPool, block_name, bytes_per_block, root_name
from noria.model.config import ModelConfig

CONFIG = ModelConfig(300, 64, 2, 32, 4, 2, 64)


@pytest.fixture
def pool() -> BlockPool:
    return BlockPool(CONFIG, 3, 4)


def take(pool: BlockPool) -> int:
    block = pool.take()
    assert block is not None
    return block


def test_names_tell_content_order_and_owner() -> None:
    root = root_name("a", "w")
    names = {
        block_name(root, [1, 2]),
        block_name(root, [2, 1]),
        block_name(root, [258, 0]),
        block_name(root_name("b", "w"), [1, 2]),
        block_name(block_name(root, [1, 2]), [1, 2]),
        root,
        root_name("", "w"),
    }
    assert len(names) == 7


def test_a_named_block_is_found_while_it_is_read_and_after(pool: BlockPool) -> None:
    block = take(pool)
    pool.name(block, b"x")
    assert pool.find([b"x", b"y"]) == [block]
    pool.give_back([block])
    pool.give_back([block])
    assert pool.num_free == 3
    assert pool.find([b"y", b"x"]) == []  # a block is of use behind its own beginning only
    assert pool.find([b"x"]) == [block]
    assert pool.num_free == 2


def test_the_block_left_longest_ago_goes_first_and_loses_its_name(pool: BlockPool) -> None:
    blocks = [take(pool) for _ in range(3)]
    for name, block in zip((b"a", b"b", b"c"), blocks, strict=True):
        pool.name(block, name)
    assert pool.take() is None
    pool.give_back(blocks)  # the last of a sequence goes first
    assert pool.find([b"c"]) == [blocks[2]]
    pool.give_back([blocks[2]])
    assert take(pool) == blocks[1]
    assert not pool.knows(b"b") and pool.knows(b"a") and pool.knows(b"c")
    assert (take(pool), take(pool)) == (blocks[0], blocks[2])


def test_what_a_broken_answer_left_behind_reaches_nobody(pool: BlockPool) -> None:
    block = take(pool)
    pool.keys[:, block] = float("nan")
    pool.values[:, block] = float("inf")
    pool.give_back([block])
    again = take(pool)
    assert again == block
    assert not pool.keys[:, again].any() and not pool.values[:, again].any()


def test_no_block_is_lost_or_given_twice() -> None:
    chance, pool = Random(1), BlockPool(CONFIG, 9, 4)
    held: list[list[int]] = []
    for number in range(3000):
        if held and chance.random() < 0.5:
            pool.give_back(held.pop(chance.randrange(len(held))))
        else:
            blocks = pool.find([str(chance.randrange(6)).encode()])
            fresh = pool.take()
            if fresh is not None:
                pool.name(fresh, str(number % 6).encode())
                blocks.append(fresh)
            held.append(blocks)
        assert pool.num_read == len({block for blocks in held for block in blocks})


def test_a_block_costs_what_it_is_said_to_cost(pool: BlockPool) -> None:
    one = pool.keys[:, 0].nbytes + pool.values[:, 0].nbytes
    assert bytes_per_block(CONFIG, 4, pool.keys.dtype) == one

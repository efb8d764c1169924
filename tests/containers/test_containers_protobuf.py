import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2 as schema

from noria.containers.protobuf import bytes_of, float32_of, int_of, message_fields


@given(
    st.lists(
        st.tuples(st.text(max_size=9), st.floats(width=32, allow_nan=False), st.integers(1, 6))
    ),
    st.integers(-(2**31), 2**31 - 1),
)
def test_fields_are_those_that_the_library_wrote(
    pieces: list[tuple[str, float, int]], number: int
) -> None:
    model = schema.ModelProto()
    for text, score, kind in pieces:
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.pad_id = number
    found = list(message_fields(model.SerializeToString()))
    read = [dict(message_fields(bytes_of(value))) for field, value in found if field == 1]
    assert [
        (bytes_of(one[1]).decode(), float32_of(one[2]), int_of(one[3])) for one in read
    ] == pieces
    trainer = dict(message_fields(bytes_of(dict(found)[2])))
    assert int_of(trainer[43]) == number


def test_a_fixed_number_of_8_bytes_is_its_bytes() -> None:
    assert list(message_fields(b"\x09" + struct.pack("<d", 1.5))) == [(1, struct.pack("<d", 1.5))]


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x05abc",  # a text that is longer than the rest
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x08",  # a number that is not there
        b"\x08\x80\x80",
        b"\x08" + b"\xff" * 9 + b"\x02",  # of more than 64 bits
        b"\x08" + b"\x80" * 11 + b"\x01",
        b"\x0d\x01\x02",  # 2 of 4 bytes
        b"\x0b",  # a group
        b"\x02\x00",  # the field 0
    ],
)
def test_a_torn_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="byte"):
        list(message_fields(data))


def test_a_field_of_another_kind_is_refused() -> None:
    for read, value in ((bytes_of, 3), (int_of, b"abc"), (float32_of, b"abc"), (float32_of, 3)):
        with pytest.raises(ValueError, match=r"none|a number"):
            read(value)  # type: ignore[operator]


def test_no_bytes_make_the_reader_fail_otherwise() -> None:
    chance = random.Random(5)
    for _ in range(3000):
        try:
            for _, value in message_fields(chance.randbytes(chance.randint(0, 40))):
                assert isinstance(value, int | bytes)
        except ValueError:
            continue

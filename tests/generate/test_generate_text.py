import itertools
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from noria.generate.loaded import LanguageModel
from noria.generate.postprocess import TextStream
from noria.tokenizer.load import Tokenizer


class Bytes:
    """A tokenizer of single bytes: every way to cut a text into tokens is the worst one."""

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id])


def streamed(chunks: Sequence[bytes], stop: Sequence[str] = ()) -> tuple[list[str], bool]:
    class Chunks:
        def token_bytes(self, token_id: int) -> bytes:
            return chunks[token_id]

    stream = TextStream(Chunks(), stop)  # type: ignore[arg-type]
    pieces = []
    for number in range(len(chunks)):
        pieces.append(stream.push(number))
        if stream.stopped:
            break
    return [*pieces, stream.finish()], stream.stopped


def cut_at_first_complete_stop(text: str, stop: Sequence[str]) -> str:
    for end in range(1, len(text) + 1):
        ending = [one for one in stop if text[:end].endswith(one)]
        if ending:
            return text[: end - max(len(one) for one in ending)]
    return text


def split_bytes(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


LETTERS = st.text(alphabet="ab水é😀\n", max_size=14)


@settings(max_examples=300, deadline=None)
@given(
    LETTERS, st.lists(st.integers(0, 60), max_size=8), st.lists(LETTERS.filter(bool), max_size=3)
)
def test_pieces_joined_are_the_text_before_the_first_stop(
    text: str, cuts: list[int], stop: list[str]
) -> None:
    pieces, stopped = streamed(split_bytes(text.encode(), cuts), stop)
    wanted = cut_at_first_complete_stop(text, stop)
    assert "".join(pieces) == wanted
    assert stopped == any(one in text for one in stop)
    assert not any("\ufffd" in piece for piece in pieces)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=20), st.lists(st.integers(0, 60), max_size=8))
def test_any_bytes_come_out_as_when_decoded_whole(data: bytes, cuts: list[int]) -> None:
    pieces, _ = streamed(split_bytes(data, cuts))
    assert "".join(pieces) == data.decode("utf-8", "replace")


def test_a_character_never_leaves_in_parts() -> None:
    pieces, _ = streamed([bytes([byte]) for byte in "水é".encode()])
    assert pieces == ["", "", "水", "", "é", ""]


def test_text_that_begins_like_a_stop_is_held_back_until_it_is_none() -> None:
    pieces, stopped = streamed([b"good", b"\n", b"\n", b"bye", b"\n"], ["\n\nUser"])
    assert pieces == ["good", "", "", "\n\nbye", "", "\n"]
    assert not stopped


def test_nothing_comes_out_after_a_stop() -> None:
    stream = TextStream(Bytes(), ["b"])  # type: ignore[arg-type]
    assert [stream.push(byte) for byte in b"abcd"] == ["a", "", "", ""]
    assert stream.finish() == ""


def test_real_tokens_stream_to_what_the_tokenizer_decodes(plain: LanguageModel) -> None:
    tokenizer: Tokenizer = plain.tokenizer
    ids = [*tokenizer.encode("水车 lifts café 😀 water\n\n"), 0]
    stream = TextStream(tokenizer)
    assert "".join([*map(stream.push, ids), stream.finish()]) == tokenizer.decode(ids)


def test_the_lead_of_an_answer_is_dropped_once_and_only_from_its_beginning() -> None:
    def written(text: str, lead: str) -> str:
        stream = TextStream(Bytes(), lead=lead)  # type: ignore[arg-type]
        return "".join(stream.push(byte) for byte in text.encode()) + stream.finish()

    assert written("  a b", " ") == " a b"
    assert written("灯 a", " ") == "灯 a"
    assert written(" a", "") == " a"

"""Vocabularies of GGUF files: the same ids as transformers gives for the same file."""

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import pytest
from mixed_texts import mixed_texts
from sentencepieces import processor, proto, texts, trained
from transformers import AutoTokenizer

from noria.containers.gguf import read_gguf
from noria.errors import FormatError
from noria.tokenizer.description import parse_description
from noria.tokenizer.foreign import tokenizer_from_gguf
from noria.tokenizer.load import Tokenizer, build_tokenizer, load_tokenizer
from noria.tokenizer.train import train_tokenizer

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"]


def ours(metadata: dict[str, Any]) -> Tokenizer:
    text, meta = tokenizer_from_gguf(metadata)
    return build_tokenizer(text, parse_description(meta, "here"), "here")


def theirs(path: Path, tmp_path: Path) -> Any:
    """transformers' tokenizer of a GGUF file that lies alone in a folder, as it wants it."""
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "model.gguf").symlink_to(path)
    return AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf", local_files_only=True)


@pytest.fixture(scope="session")
def smollm2(smollm2_gguf: Path) -> Tokenizer:
    return ours(dict(read_gguf(smollm2_gguf).metadata))


def test_ids_of_10000_mixed_strings_equal_those_of_transformers(
    smollm2: Tokenizer, smollm2_gguf: Path, tmp_path: Path
) -> None:
    texts = mixed_texts(10_000)
    wanted = theirs(smollm2_gguf, tmp_path)(texts, add_special_tokens=False)["input_ids"]
    assert smollm2.encode_batch(texts) == wanted
    whole = 0
    for text, ids in zip(texts, wanted, strict=True):
        joined = b"".join(smollm2.token_bytes(one) for one in ids)
        assert len(joined) == smollm2.num_spelled_bytes(text)
        if len(joined) == smollm2.num_bytes(text):
            assert smollm2.decode(ids) == text
            whole += 1
    assert whole > 8_000  # the others hold a character that this vocabulary can't spell


def test_special_tokens_are_never_spelled_by_text(smollm2: Tokenizer) -> None:
    assert len(smollm2.specials) == 17
    for before in ("", " ", "x", "\n", "中"):
        for text in smollm2.specials.values():
            ids = smollm2.encode(before + text + text)
            assert not set(ids) & set(smollm2.specials)
            assert smollm2.decode(ids) == before + text + text


def test_each_special_token_of_smollm2_has_its_office(smollm2: Tokenizer) -> None:
    assert smollm2.chat_format == "smollm2"
    assert (smollm2.end_id, smollm2.eos_id, smollm2.pad_id, smollm2.turn_end_id) == (0, 2, 2, 2)
    assert smollm2.start_ids == ()
    assert smollm2.stop_ids == {0, 2}
    assert smollm2.vocab_size == 49_152
    assert smollm2.decode(smollm2.specials) == ""


def test_a_byte_that_the_vocabulary_lacks_is_dropped_and_not_counted(smollm2: Tokenizer) -> None:
    assert smollm2.decode(smollm2.encode("a\x04b")) == "ab"
    assert (smollm2.num_bytes("a\x04b"), smollm2.num_spelled_bytes("a\x04b")) == (3, 2)


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A small vocabulary with digits and white space merged, so that every rule shows."""
    folder = tmp_path_factory.mktemp("trained")
    train_tokenizer([" ".join(mixed_texts(300, seed=2))] * 2, 1200, folder, "plain")
    value = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = sorted(value["model"]["vocab"], key=value["model"]["vocab"].get)
    more = [("Ġ", "Ġ"), ("ĠĠ", "ĠĠ"), ("Ċ", "Ċ"), ("Ċ", "Ġ"), ("1", "2"), ("Ġ", "1"), ("Ġ", "12")]
    merges = [tuple(pair) for pair in value["model"]["merges"]]
    merges += [pair for pair in more if pair not in merges]
    tokens = SPECIALS + vocabulary[4:]
    tokens += sorted({"".join(pair) for pair in more} - set(tokens))
    tokens += ["<think>", "[PAD1]"]
    types = [3] * 4 + [1] * (len(tokens) - 6) + [4, 5]
    return {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in merges],
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.bos_token_id": 1,
    }


def write_gguf(path: Path, metadata: dict[str, Any]) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in metadata.items():
        if isinstance(value, list):
            writer.add_array(key, value)  # of floats as float32
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif key != "general.architecture":
            writer.add_string(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("pre", ["gpt-2", "default", None, "smollm", "llama-bpe", "qwen2"])
def test_every_pre_tokenizer_of_the_list_cuts_as_in_transformers(
    pre: str | None, metadata: dict[str, Any], tmp_path: Path
) -> None:
    changed = {key: value for key, value in metadata.items() if key != "tokenizer.ggml.pre"}
    if pre is not None:
        changed["tokenizer.ggml.pre"] = pre
    found = ours(changed)
    reference = theirs(write_gguf(tmp_path / "tiny.gguf", changed), tmp_path)
    texts = [*mixed_texts(2_000, seed=3), "a<think>b", "a  12  1\n\n 12", "[PAD1]"]
    wanted = reference(texts, add_special_tokens=False)["input_ids"]
    assert found.encode_batch(texts) == wanted
    assert any(found.vocab_size - 2 in ids for ids in wanted)  # <think>: a token, but no special


def test_a_bos_token_that_the_model_was_trained_with_stands_first(
    metadata: dict[str, Any], tmp_path: Path
) -> None:
    changed = metadata | {"tokenizer.ggml.add_bos_token": True}
    text, meta = tokenizer_from_gguf(changed)
    assert meta["start_ids"] == [1]
    assert ours(metadata).start_ids == ()
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    (tmp_path / "tokenizer_meta.json").write_text(json.dumps(meta), encoding="utf-8")
    found = load_tokenizer(tmp_path)
    reference = theirs(write_gguf(tmp_path / "tiny.gguf", changed), tmp_path)
    assert [*found.start_ids, *found.encode("the lamp")] == reference("the lamp")["input_ids"]
    shutil.rmtree(tmp_path / "alone")


K = "tokenizer.ggml."
LIES: dict[str, dict[str, Any]] = {
    "another kind": {K + "model": "t5"},
    "a SentencePiece vocabulary without scores": {K + "model": "llama"},
    "no kind": {K + "model": None},
    "another pre-tokenizer": {K + "pre": "tekken"},
    "no text as pre-tokenizer": {K + "pre": ["gpt-2"]},
    "no tokens": {K + "tokens": []},
    "tokens that are no texts": {K + "tokens": [1, 2, 3]},
    "no list of tokens": {K + "tokens": "abc"},
    "no merges": {K + "merges": None},
    "a merge of three": {K + "merges": ["a b c"]},
    "a merge of one": {K + "merges": ["a"]},
    "a merge with an unknown token": {K + "merges": ["Ġ zzzzzzz"]},
    "a merge that gives a special token": {K + "merges": ["<|end oftext|>"]},
    "too few types": {K + "token_type": [1, 2]},
    "an unknown type": {K + "token_type": 6},
    "an id beyond the vocabulary": {K + "eos_token_id": 1 << 30},
    "an id below it": {K + "bos_token_id": -1},
    "an id that is none": {K + "padding_token_id": True},
    "an unknown template": {"tokenizer.chat_template": "{{ 1/0 }}"},
    "a template that is no text": {"tokenizer.chat_template": 3},
    "a template whose tokens are missing": {
        "tokenizer.chat_template": "<|start_header_id|>",
    },
}


@pytest.mark.parametrize("name", LIES)
def test_a_vocabulary_that_lies_is_refused(name: str, metadata: dict[str, Any]) -> None:
    changes = dict(LIES[name])
    if isinstance(changes.get(K + "token_type"), int):
        changes[K + "token_type"] = [changes[K + "token_type"]] * len(metadata[K + "tokens"])
    if name == "a merge that gives a special token":
        tokens = [*metadata[K + "tokens"], "<|end", "oftext|>"]
        kinds = [*metadata[K + "token_type"], 1, 1]
        changes |= {K + "tokens": tokens, K + "token_type": kinds}
    with pytest.raises(FormatError):
        tokenizer_from_gguf({**metadata, **changes})


def test_tokens_listed_twice_or_outside_the_byte_alphabet_are_refused(
    metadata: dict[str, Any],
) -> None:
    tokens = metadata[K + "tokens"]
    for token in (tokens[9], "a b", "中"):
        changed = {K + "tokens": [*tokens, token]}
        changed[K + "token_type"] = [*metadata[K + "token_type"], 1]
        with pytest.raises(FormatError):
            tokenizer_from_gguf({**metadata, **changed})


def test_a_vocabulary_without_ordinary_bytes_is_refused(metadata: dict[str, Any]) -> None:
    tokens = ["[UNUSED]" if token == "~" else token for token in metadata[K + "tokens"]]
    with pytest.raises(FormatError, match="256 bytes"):
        tokenizer_from_gguf({**metadata, K + "tokens": tokens, K + "merges": ["Ġ a"]})


def sentencepiece_metadata(data: bytes) -> dict[str, Any]:
    """A SentencePiece BPE as llama.cpp's own converter writes it, with rows that no token has."""
    model = proto(data)
    pieces = model.pieces
    padding = [f"[PAD{number}]" for number in range(5)]
    return {
        K + "model": "llama",
        K + "pre": "default",
        K + "tokens": [one.piece for one in pieces] + padding,
        K + "scores": [one.score for one in pieces] + [-1000.0] * 5,
        K + "token_type": [one.type for one in pieces] + [5] * 5,
        K + "bos_token_id": 1,
        K + "eos_token_id": 2,
        K + "unknown_token_id": 0,
        K + "padding_token_id": 0,
        K + "add_space_prefix": model.normalizer_spec.add_dummy_prefix,
    }


@pytest.mark.parametrize("adds_prefix", [True, False])
def test_ids_of_a_sentencepiece_vocabulary_equal_those_of_sentencepiece(
    adds_prefix: bool, tmp_path: Path
) -> None:
    data = trained("bpe", add_dummy_prefix=adds_prefix)
    path = write_gguf(tmp_path / "tiny.gguf", sentencepiece_metadata(data))
    found, reference = ours(dict(read_gguf(path).metadata)), processor(data)
    tried = texts(4000, seed=24)
    wanted = reference.encode(tried)
    assert found.encode_batch(tried) == wanted
    assert [found.decode(ids) for ids in wanted] == reference.decode(wanted)
    assert (found.start_ids, found.eos_id, found.pad_id) == ((1,), 2, 2)
    assert found.vocab_size == reference.get_piece_size() + 5
    assert not {one for ids in wanted for one in ids} & set(found.specials)


@pytest.fixture(scope="module")
def spelled_by_scores() -> dict[str, Any]:
    return sentencepiece_metadata(trained("bpe", vocab_size=900))


@pytest.mark.parametrize(
    "changes",
    [
        {K + "scores": None},
        {K + "scores": [0.0]},
        {K + "scores": "abc"},
        {K + "token_type": None},
        {K + "token_type": 7},
        {K + "tokens": ["a", "b"]},
        {K + "eos_token_id": 0},
        {K + "eos_token_id": None},
        {K + "bos_token_id": 1 << 30},
        {"tokenizer.chat_template": "{{ 1/0 }}"},
    ],
)
def test_a_sentencepiece_vocabulary_that_lies_is_refused(
    changes: dict[str, Any], spelled_by_scores: dict[str, Any]
) -> None:
    size = len(spelled_by_scores[K + "tokens"])
    changed = {**spelled_by_scores, **changes}
    if isinstance(changed[K + "token_type"], int):
        changed[K + "token_type"] = [changed[K + "token_type"]] * size
    if changed[K + "token_type"] is None:
        del changed[K + "token_type"]
    with pytest.raises(FormatError):
        tokenizer_from_gguf(changed)
    for score in (float("nan"), float("inf"), 1e300, True):
        scores = [*spelled_by_scores[K + "scores"][:-6], *[score] * 6]
        with pytest.raises(FormatError):
            tokenizer_from_gguf({**spelled_by_scores, K + "scores": scores})

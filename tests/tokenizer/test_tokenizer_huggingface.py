"""Tokenizers of folders in Hugging Face's layout: equal to transformers', or refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_folders import imported, write_folder
from mixed_texts import mixed_texts
from transformers import AutoTokenizer

from noria.errors import FormatError, InputError
from noria.tokenizer.foreign import tokenizer_from_huggingface
from noria.tokenizer.known_templates import TEMPLATES
from noria.tokenizer.pretokenizers import PRE_TOKENIZERS

CHATML = next(one for one in TEMPLATES if (one.chat_format, one.start) == ("chatml", ""))
LLAMA3 = next(one for one in TEMPLATES if one.chat_format == "llama-3")


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


def test_a_template_in_a_file_of_its_own_counts_first(
    trained: dict[str, Any], tmp_path: Path
) -> None:
    write_folder(tmp_path, trained, CHATML)
    change(tmp_path / "tokenizer_config.json", chat_template="{{ 1/0 }}")
    (tmp_path / "chat_template.jinja").write_text(CHATML.text + "\n", encoding="utf-8")
    assert imported(tmp_path).chat_format == "chatml"


@pytest.mark.parametrize("pre", [*PRE_TOKENIZERS])
def test_ids_of_a_folder_equal_those_of_transformers(
    pre: str, trained: dict[str, Any], tmp_path: Path
) -> None:
    ours = imported(write_folder(tmp_path, trained, CHATML, pre))
    theirs = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    texts = [*mixed_texts(1_000, seed=7), "x  12\n 3"]
    assert ours.encode_batch(texts) == theirs(texts, add_special_tokens=False)["input_ids"]
    assert [ours.decode(ids) for ids in ours.encode_batch(texts)] == texts
    assert ours.pre == pre


@pytest.mark.parametrize("stated", [True, False, None])
def test_start_ids_are_what_transformers_puts_before_a_text(
    stated: bool | None, trained: dict[str, Any], tmp_path: Path
) -> None:
    plain = next(one for one in TEMPLATES if (one.chat_format, one.start) == ("plain", ""))
    write_folder(tmp_path, trained, plain)
    bos = {"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}
    rest = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    number = len(trained["model"]["vocab"]) - 4 + 1
    named = {"id": "<|begin_of_text|>", "ids": [number], "tokens": ["<|begin_of_text|>"]}
    processor = {
        "type": "TemplateProcessing",
        "single": [bos, rest[0]],
        "pair": [bos, *rest],
        "special_tokens": {"<|begin_of_text|>": named},
    }
    if stated is not False:
        change(tmp_path / "tokenizer.json", post_processor=processor)
    if stated is not None:
        change(tmp_path / "tokenizer_config.json", add_bos_token=stated)
    ours = imported(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert [*ours.start_ids, *ours.encode("lamp")] == theirs("lamp")["input_ids"]
    assert bool(ours.start_ids) == (stated is not False)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_missing_or_broken_file_is_refused(
    name: str, trained: dict[str, Any], tmp_path: Path
) -> None:
    write_folder(tmp_path, trained, CHATML)
    for text in ("[", "[]", "[" * 100_000, "\udcff", '{"eos_token": {}, "added_tokens": 3}'):
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(FormatError):
            tokenizer_from_huggingface(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="does not exist"):
        tokenizer_from_huggingface(tmp_path)


SPLIT = {
    "type": "Split",
    "pattern": {"Regex": "(a+)+$"},
    "behavior": "Isolated",
    "invert": False,
}


@pytest.mark.parametrize(
    "changes",
    [
        {"pre_tokenizer": SPLIT},
        {"pre_tokenizer": None},
        {"pre_tokenizer": PRE_TOKENIZERS["gpt-2"] | {"add_prefix_space": True}},
        {"normalizer": {"type": "NFC"}},
        {"decoder": None},
        {"added_tokens": []},
        {"added_tokens": [{"id": 3}]},
        {"model": {"type": "WordLevel", "vocab": {}, "unk_token": "x"}},
        {"post_processor": {"type": "TemplateProcessing", "single": []}},
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(
    changes: dict[str, Any], trained: dict[str, Any], tmp_path: Path
) -> None:
    write_folder(tmp_path, trained, LLAMA3)
    change(tmp_path / "tokenizer.json", **changes)
    with pytest.raises(FormatError):
        tokenizer_from_huggingface(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"dropout": 0.1}, {"byte_fallback": True}, {"end_of_word_suffix": "</w>"}]
)
def test_bpe_that_is_not_plain_is_refused(
    changes: dict[str, Any], trained: dict[str, Any], tmp_path: Path
) -> None:
    write_folder(tmp_path, trained, CHATML)
    model = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    change(tmp_path / "tokenizer.json", model=model | changes)
    with pytest.raises(FormatError, match="plain byte-level BPE"):
        tokenizer_from_huggingface(tmp_path)


def test_a_special_token_that_text_can_spell_is_refused(
    trained: dict[str, Any], tmp_path: Path
) -> None:
    write_folder(tmp_path, trained, CHATML)
    value = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    text = next(one for one in value["model"]["vocab"] if len(one) > 1 and one.isalpha())
    word = value["added_tokens"][0] | {"id": value["model"]["vocab"][text], "content": text}
    change(tmp_path / "tokenizer.json", added_tokens=[*value["added_tokens"], word])
    with pytest.raises(FormatError, match="text can spell the special tokens"):
        tokenizer_from_huggingface(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"eos_token": "<|nothing|>"},
        {"eos_token": 3},
        {"bos_token": None},
        {"chat_template": [{"name": "default", "template": LLAMA3.text}]},
    ],
)
def test_a_configuration_that_names_what_is_not_there_is_refused(
    changes: dict[str, Any], trained: dict[str, Any], tmp_path: Path
) -> None:
    write_folder(tmp_path, trained, LLAMA3)
    change(tmp_path / "tokenizer_config.json", **changes)
    with pytest.raises(FormatError):
        tokenizer_from_huggingface(tmp_path)


def test_a_format_whose_tokens_the_vocabulary_lacks_is_refused(
    trained: dict[str, Any], tmp_path: Path
) -> None:
    write_folder(tmp_path, trained, LLAMA3)
    change(tmp_path / "tokenizer_config.json", chat_template=CHATML.text)
    with pytest.raises(FormatError, match=r"without the special tokens <\|im_start\|>"):
        tokenizer_from_huggingface(tmp_path)

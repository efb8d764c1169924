"""SentencePiece models: the ids that the sentencepiece library gives, or a refusal."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from malformed import mutate
from sentencepieces import TRAPS, processor, proto, texts, trained

from noria.errors import FormatError, InputError, UsageError
from noria.export.templates import template_text
from noria.records import Conversation, Message, Pair, Source, text_content
from noria.tokenizer.chat import render_chat
from noria.tokenizer.description import parse_description
from noria.tokenizer.extend import check_extendable, extend_tokenizer
from noria.tokenizer.foreign import tokenizer_from_huggingface, tokenizer_from_sentencepiece
from noria.tokenizer.known_templates import TEMPLATES, known_template
from noria.tokenizer.load import Tokenizer, build_tokenizer
from noria.tokenizer.pack import encode_record

WAYS: dict[str, dict[str, Any]] = {
    "llama": {},
    "no prefix": {"add_dummy_prefix": False, "split_by_whitespace": False},
    "no bytes": {"byte_fallback": False},
    "default": {
        "byte_fallback": False,
        "remove_extra_whitespaces": True,
        "normalization_rule_name": "nmt_nfkc",
    },
}


def loaded(data: bytes, folder: Path) -> Tokenizer:
    path = folder / "tokenizer.model"
    path.write_bytes(data)
    text, meta = tokenizer_from_sentencepiece(path)
    return build_tokenizer(text, parse_description(meta, "here"), "here")


@pytest.fixture(scope="module", params=WAYS)
def bpe(request: pytest.FixtureRequest) -> bytes:
    return trained("bpe", **WAYS[request.param])


@pytest.fixture(scope="module", params=WAYS)
def unigram(request: pytest.FixtureRequest) -> bytes:
    return trained("unigram", **WAYS[request.param])


@pytest.fixture(scope="module")
def llama() -> bytes:
    return trained("bpe")


def test_ids_of_bpe_equal_those_of_sentencepiece(bpe: bytes, tmp_path: Path) -> None:
    ours, theirs = loaded(bpe, tmp_path), processor(bpe)
    tried = texts(4000, seed=21)
    wanted = theirs.encode(tried)
    assert ours.encode_batch(tried) == wanted
    assert [ours.decode(ids) for ids in wanted] == theirs.decode(wanted)
    assert not {one for ids in wanted for one in ids} & set(ours.specials)


def test_ids_of_unigram_equal_those_of_sentencepiece_but_in_a_tie(
    unigram: bytes, tmp_path: Path
) -> None:
    ours, theirs = loaded(unigram, tmp_path), processor(unigram)
    tried = texts(4000, seed=22)
    wanted, found = theirs.encode(tried), ours.encode_batch(tried)
    assert [ours.decode(ids) for ids in wanted] == theirs.decode(wanted)
    ties = [pair for pair in zip(found, wanted, strict=True) if pair[0] != pair[1]]
    assert len(ties) < len(tried) / 100
    for ids, other in ties:  # as likely as the other to what float32 can tell, and never less
        mine, its = (math.fsum(map(theirs.get_score, one)) for one in (ids, other))
        assert its - 1e-9 <= mine <= its + 1e-3
        assert ours.decode(ids) == theirs.decode(other)
    assert not {one for ids in found for one in ids} & set(ours.specials)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_control_token_that_is_spelled_in_a_text_is_text(kind: str, tmp_path: Path) -> None:
    data = trained(kind, vocab_size=900)
    ours = loaded(data, tmp_path)
    assert len(ours.specials) == 3
    for name in ("<s>", "</s>", "<mask>", "<unk>", "<0x41>"):
        ids = ours.encode(f"a{name}b")
        assert not set(ids) & set(ours.specials)
        assert ours.decode(ids) == f"a{name}b"


def test_the_library_gives_the_same_ids_for_what_is_written(tmp_path: Path) -> None:
    for kind, drops in (("bpe", False), ("unigram", True)):
        # without symbols of the user: the library puts another prefix behind each of them
        settings = {"remove_extra_whitespaces": drops, "user_defined_symbols": []}
        (tmp_path / "tokenizer.model").write_bytes(trained(kind, **settings))
        text, meta = tokenizer_from_sentencepiece(tmp_path / "tokenizer.model")
        ours = build_tokenizer(text, parse_description(meta, "here"), "here")
        other = tokenizers.Tokenizer.from_str(text)
        other.encode_special_tokens = True
        for one in texts(1000, seed=23):
            ids = other.encode(one, add_special_tokens=False).ids
            assert ids == ours.encode(one)
            if one and kind == "bpe":
                assert other.decode(ids, skip_special_tokens=False) == ours.decode(ids)


def said(role: str, text: str) -> Message:
    return Message(role, text_content(text))


CHAT = [
    said("user", "Is the  lamp lit? <s>"),
    said("assistant", "Yes, 灯亮了。\n"),
    said("user", "x"),
]


def folder_with(data: bytes, folder: Path, **config: Any) -> Path:
    (folder / "tokenizer.model").write_bytes(data)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def imported(folder: Path) -> Tokenizer:
    text, meta = tokenizer_from_huggingface(folder)
    return build_tokenizer(text, parse_description(meta, "here"), "here")


def test_a_chat_of_llama_2_has_the_ids_that_its_own_program_gives(
    llama: bytes, tmp_path: Path
) -> None:
    template = known_template("llama-2", "bos").text
    ours = imported(folder_with(llama, tmp_path, chat_template=template))
    theirs = processor(llama)
    first = theirs.encode("[INST] Is the  lamp lit? <s> [/INST] Yes, 灯亮了。 ")
    wanted = [*first, theirs.eos_id(), theirs.bos_id(), *theirs.encode("[INST] x [/INST]")]
    chat = render_chat(ours, CHAT, add_answer_prompt=True)
    assert ours.start_ids == (theirs.bos_id(),)
    assert list(chat.ids) == wanted
    counted = [one for one, count in zip(chat.ids, chat.mask, strict=True) if count]
    assert counted[-1] == theirs.eos_id()
    assert ours.decode(counted) == "Yes, 灯亮了。 "  # the space that begins it is the prefix's


def test_special_tokens_that_a_folder_adds_stand_behind_the_pieces(
    llama: bytes, tmp_path: Path
) -> None:
    theirs = processor(llama)
    size = theirs.get_piece_size()
    added = {
        str(size + number): {"content": text, "special": True}
        for number, text in enumerate(["<|im_start|>", "<|im_end|>"])
    }
    config = {
        "chat_template": known_template("chatml", "").text,
        "added_tokens_decoder": added | {"0": {"content": "<unk>", "special": True}},
        "eos_token": "<|im_end|>",
        "pad_token": "<unk>",
    }
    ours = imported(folder_with(llama, tmp_path, **config))
    wanted = []
    for one in CHAT:
        text = f"{one.role}\n{one.content[0].text}"
        wanted += [size, *theirs.encode(text), size + 1, *theirs.encode("\n")]
    assert list(render_chat(ours, CHAT, add_answer_prompt=False).ids) == wanted
    assert ours.vocab_size == size + 2
    assert (ours.eos_id, ours.pad_id, ours.start_ids) == (size + 1, size + 1, (theirs.bos_id(),))
    for change in ({"0": {"content": "x"}}, {str(size + 5): added[str(size)]}):
        with pytest.raises(FormatError):
            imported(folder_with(llama, tmp_path, **config | {"added_tokens_decoder": change}))


def test_what_is_exported_comes_back(llama: bytes, tmp_path: Path) -> None:
    for data in (llama, trained("unigram", **WAYS["default"])):
        (tmp_path / "m.model").write_bytes(data)
        text, meta = tokenizer_from_sentencepiece(tmp_path / "m.model")
        ours = build_tokenizer(text, parse_description(meta, "here"), "here")
        config = {
            "eos_token": "</s>",
            "bos_token": "<s>",
            "pad_token": ours.specials[ours.pad_id],
            "chat_template": template_text(ours.description),
        }
        (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        again = imported(tmp_path)
        assert again.description == ours.description
        assert again.encode_batch(TRAPS) == ours.encode_batch(TRAPS)


def test_the_loss_counts_from_the_token_on_in_which_an_answer_begins(tmp_path: Path) -> None:
    for settings in WAYS.values():
        ours = loaded(trained("unigram", **settings), tmp_path)
        messages = (said("user", "  ﬁ e\u0301 \x01 𝒳x "), said("assistant", "Yes, 灯亮了"))
        chat = Conversation(messages, Source("a.txt"))
        ids, mask = encode_record(ours, chat)
        counted = [one for one, count in zip(ids, mask, strict=True) if count]
        assert ours.decode(counted).startswith("Yes,")
        _, starts = ours.encode_placed("  ﬁ e\u0301 \x01 𝒳x ")
        assert starts == sorted(starts)


def test_the_target_of_a_pair_has_no_space_of_its_own(llama: bytes, tmp_path: Path) -> None:
    ours = loaded(llama, tmp_path)
    ids, _ = encode_record(ours, Pair(text_content("lamp\n"), text_content("灯"), Source("a.txt")))
    assert b"".join(ours.token_bytes(one) for one in ids).decode() == " lamp\n灯"


def test_a_vocabulary_of_sentencepiece_is_not_extended(llama: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.model").write_bytes(llama)
    text, meta = tokenizer_from_sentencepiece(tmp_path / "m.model")
    ours = build_tokenizer(text, parse_description(meta, "here"), "here")
    with pytest.raises(UsageError, match="sentencepiece vocabulary to extend"):
        extend_tokenizer(ours, text, ["灯亮了灯亮了"], 2)
    with pytest.raises(UsageError, match="sentencepiece vocabulary to extend"):
        check_extendable(ours, text)


Change = Callable[[Any], object]
LIES: dict[str, Change] = {
    "kind word": lambda model: setattr(model.trainer_spec, "model_type", 3),
    "spaces behind": lambda model: setattr(model.trainer_spec, "treat_whitespace_as_suffix", True),
    "whose spaces": lambda model: setattr(model.normalizer_spec, "escape_whitespaces", False),
    "in its answers": lambda model: setattr(model.denormalizer_spec, "precompiled_charsmap", b"x"),
    "charsmap": lambda model: setattr(model.normalizer_spec, "precompiled_charsmap", b"\4\0\0\0"),
    "different ones": lambda model: setattr(model.pieces[400], "piece", model.pieces[401].piece),
    "same score": lambda model: setattr(model.pieces[400], "score", model.pieces[401].score),
    "score nan": lambda model: setattr(model.pieces[400], "score", math.nan),
    "with a space": lambda model: setattr(model.pieces[400], "piece", "a b"),
    "no pieces": lambda model: setattr(model.pieces[400], "piece", "a\U0001f9ff"),
    "of 300 characters": lambda model: setattr(model.pieces[400], "piece", "a" * 300),
    "a piece ''": lambda model: setattr(model.pieces[400], "piece", ""),
    "of 256 bytes": lambda model: model.pieces.remove(model.pieces[100]),
    "unknown tokens": lambda model: setattr(model.pieces[0], "type", 3),
    "unused pieces": lambda model: setattr(model.pieces[400], "type", 5),
    "ends a text": lambda model: setattr(model.trainer_spec, "eos_id", -1),
    "can spell": lambda model: (
        setattr(model.pieces[400], "type", 3) or setattr(model.pieces[400], "piece", "é")
    ),
}


@pytest.mark.parametrize("reason", LIES)
def test_a_model_whose_ids_could_be_others_is_refused_with_the_reason(
    reason: str, llama: bytes, tmp_path: Path
) -> None:
    changed = proto(llama)
    LIES[reason](changed)
    with pytest.raises(FormatError, match=reason):
        loaded(changed.SerializeToString(), tmp_path)


def test_a_unigram_whose_control_tokens_share_no_character_is_refused(tmp_path: Path) -> None:
    data = trained("unigram", vocab_size=900, control_symbols=["[CLS]"])
    with pytest.raises(FormatError, match=r"without a character in common"):
        loaded(data, tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        tokenizer_from_sentencepiece(tmp_path / "none.model")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_mutant_of_a_model_is_refused_or_a_tokenizer(kind: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.tsv"
    rules.write_text("41\t61\n65 301\tE9\n9\t20\n", encoding="ascii")
    settings = {"vocab_size": 700, "normalization_rule_tsv": str(rules)}
    good = trained(kind, **settings)
    chance = random.Random(31)
    refused = 0
    for _ in range(250):
        try:
            tokenizer = loaded(mutate(chance, good), tmp_path)
        except FormatError:
            refused += 1
            continue
        for ids in tokenizer.encode_batch(TRAPS):
            tokenizer.decode(ids)
            assert not set(ids) & set(tokenizer.specials)
    assert 100 < refused < 250
    for end in range(0, len(good), 97):
        with pytest.raises(FormatError):
            loaded(good[:end], tmp_path)


def test_every_template_that_needs_no_token_of_its_own_fits_a_model(
    llama: bytes, tmp_path: Path
) -> None:
    for known in TEMPLATES:
        if known.chat_format in ("alpaca", "mistral", "mistral-v0.1", "zephyr", "plain"):
            if known.start == "end":
                continue
            ours = imported(folder_with(llama, tmp_path, chat_template=known.text))
            chat = render_chat(ours, CHAT[:1], add_answer_prompt=True)
            assert ours.chat_format == known.chat_format
            assert "Is the  lamp lit? <s>" in ours.decode(chat.ids)

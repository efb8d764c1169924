"""A base's vocabulary made longer: old ids and scores stay, Chinese needs fewer tokens."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llamas import tiny_llama, tokenizer_keys, write_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from noria.bases.importing import import_base
from noria.errors import UsageError
from noria.evaluate.harness import measure_model
from noria.export.gguf import export_gguf
from noria.export.huggingface import export_huggingface
from noria.generate.loaded import LanguageModel, load_language_model
from noria.model.vocabulary import with_new_tokens
from noria.model.weights import load_decoder, save_model
from noria.records import Document, Source, text_content
from noria.tokenizer.extend import Extension, extend_tokenizer
from noria.tokenizer.load import Tokenizer, build_tokenizer, copy_tokenizer, load_tokenizer
from noria.tokenizer.train import train_tokenizer

CHINESE = [
    "守灯人每天傍晚登上楼梯，把天气写进本子里。西风十二节，午夜前有雨。",
    "每天傍晚，守灯人登上灯塔的楼梯；楼梯上没有灯，她把天气写在本子里。",
    "水车转动，水流进田里。西风起时，水车转得更快，田里的水也更多。",
] * 3
NUM_NEW = 40


def extended_folder(base: Path, out: Path) -> Extension:
    text = (base / "tokenizer.json").read_text(encoding="utf-8")
    extension = extend_tokenizer(load_tokenizer(base), text, CHINESE, NUM_NEW)
    model = load_decoder(base)
    save_model(out, with_new_tokens(model, extension.first_id, extension.parts))
    copy_tokenizer(base, out)
    (out / "tokenizer.json").write_text(extension.text, encoding="utf-8")
    return extension


@pytest.fixture(scope="module", params=["grouped-tied", "grouped-untied"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp(request.param)
    write_gguf(root / "tiny.gguf", tiny_llama(request.param), changes=tokenizer_keys())
    import_base(root / "tiny.gguf", root / "base")
    (root / "longer").mkdir()
    extended_folder(root / "base", root / "longer")
    return [root / "base", root / "longer"]


@pytest.fixture(scope="module")
def pair(folders: list[Path]) -> tuple[Tokenizer, Tokenizer]:
    return load_tokenizer(folders[0]), load_tokenizer(folders[1])


@settings(max_examples=150, deadline=None)
@given(
    st.text(
        st.one_of(
            st.characters(codec="ascii"),
            st.characters(max_codepoint=0x2FFF, codec="utf-8"),
            st.characters(min_codepoint=0xA000, codec="utf-8"),
        )
    )
)
def test_a_text_without_han_keeps_its_ids(pair: tuple[Tokenizer, Tokenizer], text: str) -> None:
    before, after = pair
    assert after.encode(text) == before.encode(text)


def test_chinese_needs_fewer_tokens_and_still_decodes_to_itself(
    pair: tuple[Tokenizer, Tokenizer],
) -> None:
    before, after = pair
    chance = random.Random(3)
    characters = "".join(CHINESE) + " aZ1，\n"
    for _ in range(200):
        text = "".join(chance.choices(characters, k=chance.randint(1, 30)))
        assert after.decode(after.encode(text)) == text
        assert len(after.encode(text)) <= len(before.encode(text))
    text = "".join(CHINESE)
    assert len(after.encode(text)) < 0.7 * len(before.encode(text))


def test_a_new_token_is_the_old_ids_that_it_joins(folders: list[Path], tmp_path: Path) -> None:
    base = folders[0]
    extension = extended_folder(base, tmp_path)
    before, after = load_tokenizer(base), load_tokenizer(tmp_path)
    assert extension.first_id == before.vocab_size
    assert after.vocab_size == before.vocab_size + len(extension.parts)
    assert len(extension.parts) == NUM_NEW
    for token_id in range(before.vocab_size):
        assert after.token_bytes(token_id) == before.token_bytes(token_id)
    old, new = load_decoder(base), load_decoder(tmp_path)
    for number, parts in enumerate(extension.parts):
        token_id = extension.first_id + number
        joined = b"".join(before.token_bytes(one) for one in parts)
        assert after.token_bytes(token_id) == joined
        mean = old.embedding.weight[list(parts)].mean(dim=0)
        assert torch.equal(new.embedding.weight[token_id], mean)
        assert torch.equal(new.output_weight()[token_id], old.output_weight()[list(parts)].mean(0))


def test_old_tokens_mean_and_score_what_they_did(folders: list[Path]) -> None:
    base, longer = map(load_language_model, folders)
    ids = torch.tensor([base.tokenizer.encode("the wheel turns, 12 times")])
    with torch.no_grad():
        before = base.model.logits(base.model(ids))
        after = longer.model.logits(longer.model(ids))
    num_old = base.tokenizer.vocab_size
    assert torch.equal(after[..., :num_old], before[..., :num_old])


def test_the_loss_on_chinese_is_a_number_before_any_training(folders: list[Path]) -> None:
    def nats(model: LanguageModel) -> Any:
        records = [Document(text_content(text), Source("a")) for text in CHINESE[:3]]
        return measure_model(model, records)

    before, after = (nats(load_language_model(folder)) for folder in folders)
    assert torch.isfinite(torch.from_numpy(after.nll_nats)).all()
    assert (after.num_bytes == before.num_bytes).all()
    assert after.num_tokens < before.num_tokens


def test_the_exported_folder_gives_transformers_the_same_ids_and_scores(
    folders: list[Path], tmp_path: Path
) -> None:
    export_huggingface(folders[1], tmp_path)
    ours = load_language_model(folders[1])
    theirs = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True).eval()
    for text in [*CHINESE[:3], "the wheel 转动 turns", "GPU的水车"]:
        ids = ours.tokenizer.encode(text)
        assert theirs.encode(text, add_special_tokens=False) == ids
    row = torch.tensor([ours.tokenizer.encode(CHINESE[0])])
    with torch.no_grad():
        found, wanted = ours.model.logits(ours.model(row)), model(row).logits
    assert torch.allclose(found, wanted, atol=2e-4)


def test_the_exported_gguf_file_is_the_same_model(folders: list[Path], tmp_path: Path) -> None:
    export_gguf(folders[1], tmp_path / "longer.gguf")
    import_base(tmp_path / "longer.gguf", tmp_path / "again")
    ours, again = load_language_model(folders[1]), load_language_model(tmp_path / "again")
    assert again.weight_hash == ours.weight_hash
    for text in [*CHINESE[:3], "the wheel 转动 turns"]:
        assert again.tokenizer.encode(text) == ours.tokenizer.encode(text)


def test_extending_twice_gives_the_same_bytes(folders: list[Path]) -> None:
    text = (folders[0] / "tokenizer.json").read_text(encoding="utf-8")
    tokenizer = load_tokenizer(folders[0])
    first = extend_tokenizer(tokenizer, text, CHINESE, NUM_NEW)
    assert extend_tokenizer(tokenizer, text, CHINESE, NUM_NEW) == first


def test_special_tokens_that_stand_outside_of_the_vocabulary_keep_their_ids(
    folders: list[Path],
) -> None:
    value = json.loads((folders[0] / "tokenizer.json").read_text(encoding="utf-8"))
    inside = load_tokenizer(folders[0])
    last = inside.vocab_size  # of a token that only `added_tokens` lists
    more = {"id": last, "content": "<|outside|>", "special": True, "normalized": False}
    value["added_tokens"].append(more | dict.fromkeys(("single_word", "lstrip", "rstrip"), False))
    described = replace(inside.description, specials={**inside.specials, last: "<|outside|>"})
    tokenizer = build_tokenizer(json.dumps(value), described, "here")
    found = extend_tokenizer(tokenizer, json.dumps(value), CHINESE, 5)
    assert found.first_id == last + 1
    assert json.loads(found.text)["model"]["vocab"]["<|outside|>"] == last
    longer = build_tokenizer(found.text, described, "here")
    assert longer.specials[last] == "<|outside|>"
    assert not set(longer.encode("<|outside|> 灯")) & set(longer.specials)


def test_extending_refuses_other_kinds_and_texts_without_chinese(
    folders: list[Path], tmp_path: Path
) -> None:
    text = (folders[0] / "tokenizer.json").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="without a Chinese character"):
        extend_tokenizer(load_tokenizer(folders[0]), text, ["only English"], 5)
    train_tokenizer(["灯灯" * 9], 300, tmp_path, "plain", "unigram")
    text = (tmp_path / "tokenizer.json").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="Unigram"):
        extend_tokenizer(load_tokenizer(tmp_path), text, CHINESE, 5)


@pytest.mark.parametrize(("first_id", "parts"), [(9999, [[1]]), (10, [[]]), (10, [[10]])])
def test_rows_that_fit_no_vocabulary_are_refused(
    first_id: int, parts: list[list[int]], folders: list[Path]
) -> None:
    with pytest.raises(UsageError):
        with_new_tokens(load_decoder(folders[0]), first_id, parts)

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from noria.errors import UsageError
from noria.generate.engine import generate_tokens
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.model.transformer import Decoder, build_decoder
from noria.records import Message, text_content
from noria.tasks.answer import Piece
from noria.tasks.chat import chat
from noria.tasks.complete import complete
from noria.tokenizer.chat import render_chat
from noria.tokenizer.description import description_json, our_description
from noria.tokenizer.load import load_tokenizer

SEEDED = Sampling(seed=3, max_tokens=12)


def said(role: str, text: str) -> Message:
    return Message(role, text_content(text))


def reciting(model: LanguageModel, ids: list[int]) -> LanguageModel:
    """The same tokenizer over a decoder that was trained in a moment to recite these ids."""
    torch.manual_seed(1)
    decoder: Decoder = build_decoder(model.model.config, 1)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    tokens = torch.tensor([ids])
    for _ in range(60):
        logits = decoder.logits(decoder(tokens[:, :-1]))
        loss = torch.nn.functional.cross_entropy(logits[0], tokens[0, 1:])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1
    return LanguageModel(decoder.eval(), model.tokenizer, "reciting")


def check_pieces(pieces: list[Piece]) -> None:
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish in ("stop", "length")
    assert all(piece.text for piece in pieces[:-1])
    counts = [piece.num_answer_tokens for piece in pieces]
    assert counts == sorted(counts)


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: complete(model, "The wheel", SEEDED),
        lambda model: chat(model, [said("user", "水车?")], SEEDED),
        lambda model: complete(model, "", SEEDED),
    ],
)
def test_an_answer_that_is_cut_ends_with_length(
    plain: LanguageModel, ask: Callable[[LanguageModel], list[Piece]]
) -> None:
    pieces = list(ask(plain))
    check_pieces(pieces)
    assert pieces[-1].finish == "length"
    assert pieces[-1].num_answer_tokens == 12


def test_completion_follows_an_end_token_as_in_training(plain: LanguageModel) -> None:
    prompt = [0, *plain.tokenizer.encode("The wheel")]
    pieces = list(complete(plain, "The wheel", SEEDED))
    wanted = plain.tokenizer.decode(list(generate_tokens(plain, prompt, SEEDED)))
    assert "".join(piece.text for piece in pieces) == wanted
    assert {piece.num_prompt_tokens for piece in pieces} == {len(prompt)}


@pytest.mark.parametrize("start_ids", [[], [3]])
def test_prompts_begin_as_the_model_was_trained(
    start_ids: list[int], chatml: LanguageModel, folders: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copyfile(folders["chatml"] / "tokenizer.json", tmp_path / "tokenizer.json")
    meta = description_json(our_description("chatml")) | {"start_ids": start_ids}
    (tmp_path / "tokenizer_meta.json").write_text(json.dumps(meta))
    model = replace(chatml, tokenizer=load_tokenizer(tmp_path))
    asked = render_chat(model.tokenizer, [said("user", "?")], add_answer_prompt=True)
    few = replace(SEEDED, max_tokens=4)
    expected = {
        len(start_ids) + len(asked.ids): chat(model, [said("user", "?")], few),
        len(start_ids) + len(model.tokenizer.encode("wheels")): complete(model, "wheels", few),
        1: complete(model, "", few),
    }
    for num_prompt, pieces in expected.items():
        assert {piece.num_prompt_tokens for piece in pieces} == {num_prompt}


@pytest.mark.parametrize("chat_format", ["plain", "chatml"])
def test_chat_recites_what_training_would_have_shown(
    chat_format: str, request: pytest.FixtureRequest
) -> None:
    model: LanguageModel = request.getfixturevalue(chat_format)
    messages = [said("user", "the wheel?"), said("assistant", "turns. 水车")]
    rendered = render_chat(model.tokenizer, messages, add_answer_prompt=False)
    model = reciting(model, [0, *rendered.ids])
    greedy = Sampling(temperature=0, max_tokens=20)
    pieces = list(chat(model, messages[:1], greedy))
    check_pieces(pieces)
    assert "".join(piece.text for piece in pieces) == "turns. 水车"
    assert pieces[-1].finish == "stop"
    assert pieces[-1].num_answer_tokens == sum(rendered.mask)
    stopped = list(chat(model, messages[:1], Sampling(temperature=0, stop=("s. 水",))))
    check_pieces(stopped)
    assert "".join(piece.text for piece in stopped) == "turn"
    assert stopped[-1].finish == "stop"


def test_a_chat_without_messages_is_refused(plain: LanguageModel) -> None:
    with pytest.raises(UsageError, match="without messages"):
        list(chat(plain, [], SEEDED))

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from noria.errors import FormatError, UsageError
from noria.generate.engine import fitted_prompt, generate_tokens
from noria.generate.loaded import LanguageModel, load_language_model
from noria.generate.sampling import Sampling
from noria.model.presets import preset
from noria.model.transformer import build_decoder
from noria.model.weights import load_decoder, model_weight_hash, save_model

GREEDY = Sampling(temperature=0, max_tokens=12)


def uncached_greedy(model: LanguageModel, prompt: list[int], num_tokens: int) -> list[int]:
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(num_tokens):
            logits = model.model.logits(model.model(torch.tensor([ids]))[0, -1])
            ids.append(int(logits[: model.tokenizer.vocab_size].argmax()))
            if ids[-1] == model.tokenizer.end_id:
                break
    return ids[len(prompt) :]


def certain(model: LanguageModel, token_id: int) -> LanguageModel:
    """The same model, made to say one token whatever was before."""
    config = replace(model.model.config, tied=False)
    changed = build_decoder(config, 1)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.zero_()
        changed.embedding.weight.fill_(1.0)
        changed.final_norm.weight.fill_(1.0)
        changed.head.weight[token_id] = 1.0  # type: ignore[union-attr, index]
    return LanguageModel(changed.eval(), model.tokenizer, "certain")


def test_greedy_tokens_are_those_without_a_cache(plain: LanguageModel) -> None:
    prompt = [0, *plain.tokenizer.encode("The wheel turns")]
    found = list(generate_tokens(plain, prompt, GREEDY))
    assert found == uncached_greedy(plain, prompt, 12)


def test_same_seed_gives_the_same_answer(plain: LanguageModel) -> None:
    def answer(seed: int) -> list[int]:
        return list(generate_tokens(plain, [0], Sampling(seed=seed, max_tokens=20)))

    assert answer(7) == answer(7)
    assert answer(7) != answer(8)


def test_an_end_token_ends_the_answer_and_comes_last(plain: LanguageModel) -> None:
    assert list(generate_tokens(certain(plain, 0), [5, 6], GREEDY)) == [0]
    assert list(generate_tokens(certain(plain, 9), [5, 6], GREEDY)) == [9] * 12


def test_a_turn_end_ends_a_chatml_answer_but_not_a_plain_one(
    plain: LanguageModel, chatml: LanguageModel
) -> None:
    assert list(generate_tokens(certain(chatml, 2), [5], GREEDY)) == [2]
    assert len(list(generate_tokens(certain(plain, 2), [5], GREEDY))) == 12


def test_a_full_context_ends_the_answer(plain: LanguageModel) -> None:
    talker = certain(plain, 9)
    many = Sampling(temperature=0, max_tokens=1000)
    assert len(list(generate_tokens(talker, [5], many))) == 31
    assert len(list(generate_tokens(talker, [5] * 500, many))) == 16


def test_a_long_prompt_keeps_its_last_tokens(plain: LanguageModel) -> None:
    prompt = [4 + number % 300 for number in range(100)]
    assert fitted_prompt(prompt, Sampling(max_tokens=4), 32) == prompt[-28:]
    assert fitted_prompt(prompt, Sampling(max_tokens=400), 32) == prompt[-16:]
    assert fitted_prompt(prompt[:3], Sampling(max_tokens=400), 32) == prompt[:3]
    few = replace(GREEDY, max_tokens=4)
    assert list(generate_tokens(plain, prompt, few)) == uncached_greedy(plain, prompt[-28:], 4)


def test_ids_that_the_tokenizer_lacks_never_come_out(plain: LanguageModel) -> None:
    padded = plain.tokenizer.vocab_size + 1
    assert padded < plain.model.config.vocab_size
    found = list(generate_tokens(certain(plain, padded), [5], Sampling(seed=1, max_tokens=30)))
    assert all(token_id < plain.tokenizer.vocab_size for token_id in found)


@pytest.mark.parametrize("prompt", [[], [-1], [100_000]])
def test_an_empty_or_unknown_prompt_is_refused(plain: LanguageModel, prompt: list[int]) -> None:
    with pytest.raises(UsageError, match="prompt"):
        next(generate_tokens(plain, prompt, GREEDY))


def test_inference_mode_does_not_leak_between_tokens(plain: LanguageModel) -> None:
    tokens = generate_tokens(plain, [5], GREEDY)
    next(tokens)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def test_the_loader_hashes_the_weights_that_it_loaded(folders: dict[str, Path]) -> None:
    loaded = load_language_model(folders["plain"])
    assert loaded.weight_hash == model_weight_hash(load_decoder(folders["plain"]))


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "tokenizer_meta.json"):
        shutil.copyfile(folders["plain"] / name, tmp_path / name)
    save_model(tmp_path, build_decoder(preset("decoder-1m", 300, 32), 1))
    with pytest.raises(FormatError, match="at most 300"):
        load_language_model(tmp_path)

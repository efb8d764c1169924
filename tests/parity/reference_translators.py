"""Sources and targets, and how an encoder-decoder of ours and one of transformers read them.

Legend: B batch, T tokens of a target, S of a source, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from reference_models import assert_near, assert_same_tensors, gradients, random_ids, real_tokens
from torch import Tensor

from noria.generate.batching import Engine
from noria.generate.engine import draw_tokens
from noria.generate.loaded import Seq2SeqModel
from noria.generate.sampling import Sampling
from noria.model.cache import KVCache
from noria.model.layouts.catalogue import LAYOUTS
from noria.model.likelihood import cross_entropy_sum
from noria.model.masks import Rows
from noria.model.transformer import EncoderDecoder, build_model
from noria.tokenizer.load import Tokenizer

Reference = Any  # a T5ForConditionalGeneration, BartForConditionalGeneration or MarianMTModel
NUM_TOKENS = 30  # of the longest target


class Batch(NamedTuple):
    """Ids, and which of them are real; None where all are."""

    source_ids: Tensor
    ids: Tensor
    source_real: Tensor | None
    real: Tensor | None


def some_batch(vocab_size: int, *, padded: bool) -> Batch:
    """Three rows. Padded, a source has its padding behind or in front, a target behind."""
    source_ids = random_ids(vocab_size, 3, 24, seed=1)
    ids = random_ids(vocab_size, 3, NUM_TOKENS, seed=2)
    if not padded:
        return Batch(source_ids, ids, None, None)
    source_real = real_tokens([24, 9, 15])
    source_real[2] = source_real[2].flip(0)
    return Batch(source_ids, ids, source_real, real_tokens([12, NUM_TOKENS, 5]))


def some_splits(seed: int) -> list[int]:
    """Lengths of five parts of a target, the second of them one token."""
    generator = torch.Generator().manual_seed(seed)
    at = torch.randperm(NUM_TOKENS - 3, generator=generator)[:3].add(2).sort().values.tolist()
    begins = [0, at[0] - 1, *at]
    return [end - begin for begin, end in zip(begins, [*begins[1:], NUM_TOKENS], strict=True)]


def logits(ours: EncoderDecoder, batch: Batch, parts: Sequence[int] = ()) -> Tensor:
    """Our logits of all targets at once, or part by part with a cache. (B, T, V)."""
    memory = ours.encode(batch.source_ids, Rows(real=batch.source_real))
    if not parts:
        rows = Rows(real=batch.real)
        return ours.logits(ours.decode(batch.ids, memory, batch.source_real, rows=rows))
    cache, found = KVCache(ours.config, len(batch.ids), NUM_TOKENS), []
    for ids in batch.ids.split(list(parts), 1):
        end = cache.length + ids.shape[1]
        rows = Rows(real=None if batch.real is None else batch.real[:, :end])
        found.append(ours.logits(ours.decode(ids, memory, batch.source_real, cache, rows)))
    return torch.cat(found, 1)


def reference_logits(theirs: Reference, batch: Batch, parts: Sequence[int] = ()) -> Tensor:
    """Their logits, in the same way. (B, T, V)."""
    source_mask = None if batch.source_real is None else batch.source_real.long()
    encoded = theirs.get_encoder()(batch.source_ids, attention_mask=source_mask)
    found, end, cache = [], 0, None
    for ids in batch.ids.split(list(parts) or NUM_TOKENS, 1):
        end += ids.shape[1]
        output = theirs(
            encoder_outputs=encoded,
            attention_mask=source_mask,
            decoder_input_ids=ids,
            decoder_attention_mask=None if batch.real is None else batch.real[:, :end].long(),
            past_key_values=cache,
            use_cache=bool(parts),
        )
        found.append(output.logits)
        cache = output.past_key_values
    return torch.cat(found, 1)


def assert_same_logits(ours: EncoderDecoder, theirs: Reference, *, padded: bool) -> None:
    """With and without caches, all at once and in random parts: the same logits of real tokens."""
    batch = some_batch(ours.config.vocab_size, padded=padded)
    real = torch.ones_like(batch.ids, dtype=torch.bool) if batch.real is None else batch.real
    with torch.no_grad():
        wanted = reference_logits(theirs, batch)[real]
        assert_near(logits(ours, batch)[real], wanted)
        for seed in (1, 2):
            parts = some_splits(seed)
            assert_near(logits(ours, batch, parts)[real], wanted)
            assert_near(reference_logits(theirs, batch, parts)[real], wanted)


def assert_same_targets(ours: EncoderDecoder, theirs: Reference) -> None:
    """Targets of three sources, alone and all at once in the engine: what transformers would say.

    At each place the token that it finds likeliest, and as likely as it does.
    """
    vocab_size = ours.config.vocab_size
    known = SimpleNamespace(vocab_size=vocab_size, start_ids=(3,), end_id=3, stop_ids=frozenset())
    model = Seq2SeqModel(ours, cast(Tokenizer, known), "ours")
    sampling = Sampling(temperature=0, max_tokens=12, log_probs=1)
    sources = [random_ids(vocab_size, 1, length, seed=length) for length in (24, 9, 15)]
    listed = [one[0].tolist() for one in sources]
    alone = [list(draw_tokens(model, one, sampling)) for one in listed]
    engine = Engine(model)
    streams = [engine.submit(model, one, sampling) for one in listed]
    together = [list(stream) for stream in streams]
    engine.close()
    for found in (alone, together):
        likely = [torch.tensor([one.log_prob for one in drawn]) for drawn in found]
        assert (likely[0] - likely[1]).abs().max() > 1e-3  # a target depends on its source
        for source, drawn, ours_likely in zip(sources, found, likely, strict=True):
            ids = torch.tensor([[one.token_id for one in drawn]])
            read = torch.cat([torch.tensor([[3]]), ids[:, :-1]], 1)
            real = torch.ones_like(source)
            with torch.no_grad():
                said = theirs(source, attention_mask=real, decoder_input_ids=read).logits
            likelier, best = said.log_softmax(-1)[0].max(-1)
            assert best.tolist() == ids[0].tolist()
            torch.testing.assert_close(ours_likely, likelier, rtol=0, atol=1e-4)


def assert_same_dropout(ours: EncoderDecoder, theirs: Reference) -> None:
    """In training, from one random state: the same numbers fall, at the same places."""
    batch = some_batch(ours.config.vocab_size, padded=False)
    with torch.no_grad():
        torch.manual_seed(3)
        wanted = reference_logits(theirs.train(), batch)
        torch.manual_seed(3)
        found = logits(ours.train(), batch)
        other = logits(ours, batch)
    assert_near(found, wanted)
    assert (other - wanted).abs().max() > 0.1


def slopes(ours: EncoderDecoder, theirs: Reference, *, padded: bool) -> dict[str, Tensor]:
    """Our gradients of the mean loss of real tokens; theirs are left in their parameters."""
    batch = some_batch(ours.config.vocab_size, padded=padded)
    targets = batch.ids.roll(-1, 1)
    real = torch.ones_like(batch.ids) if batch.real is None else batch.real
    memory = ours.encode(batch.source_ids, Rows(real=batch.source_real))
    hidden = ours.decode(batch.ids, memory, batch.source_real, rows=Rows(real=batch.real))
    total, num_tokens = cross_entropy_sum(ours, hidden, targets, real)
    (total / num_tokens).backward()
    losses = F.cross_entropy(
        reference_logits(theirs, batch).flatten(0, 1), targets.flatten(), reduction="none"
    )
    loss = (losses * real.flatten()).sum() / real.sum()
    loss.backward()
    assert abs(float(total.detach() / num_tokens - loss.detach())) < 1e-5
    return gradients(ours)


def translator(config: Any, seed: int = 1) -> EncoderDecoder:
    """A model of ours, in evaluation mode: dropout has no reference."""
    model = build_model(config, seed)
    assert isinstance(model, EncoderDecoder)
    return model.eval()


def assert_returns(
    hf_config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    repeated: Callable[[str], bool],
) -> None:
    """Their tensors as ours and back are the same bits, under all names but the repeated ones."""
    layout = LAYOUTS[hf_config["model_type"]]
    config, found, _, _ = layout.read(hf_config, tensors)
    said, returned = layout.write(config, found)
    assert_same_tensors(returned, {name: tensors[name] for name in tensors if not repeated(name)})
    again, twice, _, _ = layout.read(said, returned)
    assert again == config
    assert_same_tensors(twice, found)

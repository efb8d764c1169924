"""Each objective beside the loss that transformers, TRL or scikit-learn makes of the same batch.

The values are equal, and so is the gradient of every parameter.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from reference_models import (
    assert_same_gradients,
    fill_reference,
    gradients,
    random_ids,
    real_tokens,
    spread,
)
from reference_translators import translator
from sklearn.metrics import log_loss
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.gkd import GKDTrainer

from noria.model.config import ModelConfig
from noria.model.headed import HeadedModel, build_headed_model
from noria.model.heads import HeadConfig
from noria.model.historical import BERT_BASE, T5_SMALL
from noria.model.layouts.bert import to_bert
from noria.model.layouts.llama import from_llama, to_llama
from noria.model.layouts.t5 import t5_names, to_t5
from noria.model.transformer import Decoder, build_decoder
from noria.train.batch import Batch, LabelBatch, PreferenceBatch, SourceBatch, TokenBatch
from noria.train.objectives import losses
from noria.train.objectives.corruption import cut_spans
from noria.train.plan import Choices
from noria.train.step import accumulate

torch.set_num_threads(1)
IGNORED = -100  # what transformers does not count
VOCAB_SIZE = 90
LLAMA = ModelConfig(
    vocab_size=VOCAB_SIZE,
    context_tokens=32,
    num_layers=2,
    width=32,
    num_heads=4,
    num_kv_heads=2,
    ffn_width=48,
)
BERT = replace(
    BERT_BASE,
    vocab_size=VOCAB_SIZE,
    context_tokens=32,
    num_layers=2,
    width=32,
    num_heads=4,
    num_kv_heads=4,
    ffn_width=48,
)
T5 = replace(
    T5_SMALL,
    vocab_size=VOCAB_SIZE,
    num_layers=1,
    num_encoder_layers=2,
    width=24,
    num_heads=4,
    num_kv_heads=4,
    ffn_width=40,
)
REAL = real_tokens([12, 7, 12, 4])


def our_loss(model: nn.Module, batch: Batch, objective: losses.Objective) -> float:
    """As the trainer has it: mean loss, in micro-batches of two rows, gradients added up."""
    return accumulate(model, batch, Choices("float32", False, 2, 1), objective)


def a_decoder() -> tuple[Decoder, LlamaForCausalLM]:
    ours = spread(build_decoder(LLAMA, 1))
    config, tensors = to_llama(LLAMA, ours.state_dict())
    theirs = LlamaForCausalLM(LlamaConfig(**config, attn_implementation="eager"))
    return ours, fill_reference(theirs, tensors, {"lm_head.weight"})


def assert_same_llama(ours: Decoder, theirs: nn.Module) -> None:
    assert_same_gradients(to_llama(LLAMA, gradients(ours))[1], theirs)


def test_causal_and_tuned_language_models_beside_transformers() -> None:
    ids = random_ids(VOCAB_SIZE, 4, 13)
    for counted in (torch.ones(4, 12, dtype=torch.bool), REAL & (ids[:, 1:] % 3 > 0)):
        ours, theirs = a_decoder()
        labels = ids.clone()
        labels[:, 1:][~counted] = IGNORED
        wanted = theirs(input_ids=ids, labels=labels).loss
        wanted.backward()
        batch = TokenBatch(ids[:, :-1], ids[:, 1:], counted)
        assert our_loss(ours, batch, losses.next_token()) == pytest.approx(wanted.item(), rel=1e-5)
        assert_same_llama(ours, theirs)


def test_sequence_to_sequence_and_cut_spans_beside_transformers() -> None:
    source_ids, ids = random_ids(VOCAB_SIZE, 4, 12), random_ids(VOCAB_SIZE, 4, 12, seed=2)
    random = np.random.default_rng(5)
    spans = [cut_spans(row.numpy(), range(80, 89), 89, random, 0.3) for row in ids % 80]
    sides = [[torch.from_numpy(ids) for ids in side] for side in zip(*spans, strict=True)]
    cut = tuple(nn.utils.rnn.pad_sequence(side, True, IGNORED) for side in sides)
    for source, targets in ((source_ids, ids.masked_fill(~REAL, IGNORED)), cut):
        ours = spread(translator(T5))
        config, tensors = to_t5(T5, ours.state_dict())
        copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
        theirs = fill_reference(
            T5ForConditionalGeneration(T5Config(**config, decoder_start_token_id=0)),
            tensors,
            copies,
        )
        real = source != IGNORED
        known = source.clamp(min=0)
        wanted = theirs(input_ids=known, attention_mask=real.long(), labels=targets).loss
        wanted.backward()
        begun = theirs.prepare_decoder_input_ids_from_labels(targets)
        counted = targets != IGNORED
        batch = SourceBatch(known, real, begun, targets.clamp(min=0), counted)
        found = our_loss(ours, batch, losses.target_token())
        assert found == pytest.approx(wanted.item(), rel=1e-5)
        names = t5_names(T5)
        assert_same_gradients({names[n]: one for n, one in gradients(ours).items()}, theirs)


TIED = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
CLASSES = torch.tensor([0, 2, 1, 1])
SEVERAL = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
SPANS = torch.tensor([[1, 3], [0, 0], [2, 6], [1, 2]])
ALL = torch.ones(4, dtype=torch.bool)
IDS = random_ids(VOCAB_SIZE, 4, 12)
HIDDEN = REAL & (IDS % 3 == 0)
WORDS = IDS % 5
SEQUENCE = HeadConfig("sequence", 3, pooling="first", pooled_layer=True)
# Ours: head, objective, batch. Theirs: class, settings, what it is called with.
HEADED: dict[str, tuple[HeadConfig, Any, Batch, Any, dict[str, Any], dict[str, Tensor]]] = {
    "masked": (
        HeadConfig("masked"),
        losses.masked_token(),
        TokenBatch(IDS, IDS.roll(1, 1), HIDDEN, lengths=REAL.sum(1)),
        BertForMaskedLM,
        {},
        {"labels": IDS.roll(1, 1).masked_fill(~HIDDEN, IGNORED)},
    ),
    "class": (
        SEQUENCE,
        losses.one_class(),
        LabelBatch(IDS, REAL, CLASSES, ALL),
        BertForSequenceClassification,
        {"problem_type": "single_label_classification"},
        {"labels": CLASSES},
    ),
    "classes": (
        SEQUENCE,
        losses.many_classes(),
        LabelBatch(IDS, REAL, SEVERAL, ALL),
        BertForSequenceClassification,
        {"problem_type": "multi_label_classification"},
        {"labels": SEVERAL.float()},
    ),
    "tags": (
        HeadConfig("token", 5),
        losses.one_class(),
        LabelBatch(IDS, REAL, WORDS, REAL),
        BertForTokenClassification,
        {},
        {"labels": WORDS.masked_fill(~REAL, IGNORED)},
    ),
    "span": (
        HeadConfig("span"),
        losses.span(),
        LabelBatch(IDS, REAL, SPANS, ALL),
        BertForQuestionAnswering,
        {},
        {"start_positions": SPANS[:, 0], "end_positions": SPANS[:, 1]},
    ),
}


@pytest.mark.parametrize("name", HEADED)
def test_heads_beside_transformers(name: str) -> None:
    head, objective, batch, kind, settings, labels = HEADED[name]
    ours: HeadedModel = spread(build_headed_model(BERT, head, 1)).eval()
    body, top = ours.body.state_dict(), ours.head.state_dict()
    config, tensors = to_bert(BERT, body, head, top)
    theirs = fill_reference(kind(BertConfig(**(config | settings))), tensors, TIED)
    real = REAL
    if name == "span":  # theirs lets an answer begin in the padding: there is none then
        real = torch.ones_like(REAL)
        batch = LabelBatch(IDS, real, SPANS, ALL)
    wanted = theirs(input_ids=IDS, attention_mask=real.long(), **labels).loss
    wanted.backward()
    assert our_loss(ours, batch, objective) == pytest.approx(wanted.item(), rel=1e-5)
    found = to_bert(BERT, gradients(ours.body), head, gradients(ours.head))[1]
    # What is added to the scores of all places alike changes no softmax over places.
    zero = {"key.bias"} | ({"1.output.LayerNorm.bias", "outputs.bias"} if name == "span" else set())
    assert_same_gradients(found, theirs, zero)


def test_classes_beside_scikit_learn() -> None:
    model = spread(build_headed_model(BERT, SEQUENCE, 1)).eval()
    batch = LabelBatch(IDS, REAL, CLASSES, ALL)
    chances = torch.softmax(model(IDS, REAL), dim=1).double().detach()
    wanted = log_loss(CLASSES, chances / chances.sum(1, keepdim=True), labels=[0, 1, 2])
    assert our_loss(model, batch, losses.one_class()) == pytest.approx(wanted, rel=1e-4)


def test_distillation_beside_trl() -> None:
    (ours, _), (teacher, _) = a_decoder(), a_decoder()
    with torch.no_grad():
        for one in teacher.parameters():
            one += 0.05 * torch.randn(one.shape, generator=torch.Generator().manual_seed(6))
    ids, temperature = random_ids(VOCAB_SIZE, 4, 12), 1.7
    batch = TokenBatch(ids, ids.roll(-1, 1), REAL)
    found = our_loss(ours, batch, losses.distilled(teacher, temperature, 1.0))
    student = ours.logits(ours(ids)).detach().requires_grad_()
    wanted = GKDTrainer.generalized_jsd_loss(
        student,
        teacher.logits(teacher(ids)).detach(),
        labels=torch.where(REAL, ids, IGNORED),
        beta=0.0,
        temperature=temperature,
    )
    assert found == pytest.approx(temperature**2 * float(wanted.detach()), rel=1e-5)


class Preferences:
    """A trainer of TRL around a tiny model, which is asked for its loss alone."""

    def __init__(self, folder: Path, build: Any, config: Any, row: dict[str, Any]) -> None:
        words = Tokenizer(WordLevel({f"w{n}": n for n in range(VOCAB_SIZE)}, unk_token="w0"))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w1", pad_token="w2")
        self.ours, self.theirs = a_decoder()
        _, reference = a_decoder()
        with torch.no_grad():
            for one in self.theirs.parameters():
                one += 0.03 * torch.randn(one.shape, generator=torch.Generator().manual_seed(6))
        _, tensors = from_llama(self.theirs.config.to_dict(), self.theirs.state_dict())
        self.ours.load_state_dict(tensors)
        self.reference = reference
        arguments = config(
            str(folder), beta=0.3, use_cpu=True, report_to="none", bf16=False, max_length=64
        )
        self.trainer = build(
            self.theirs,
            reference,
            args=arguments,
            train_dataset=Dataset.from_list([row, row]),
            processing_class=tokenizer,
        )
        self.theirs.eval()

    def reference_log_probs(self, ids: Tensor, counted: Tensor) -> Tensor:
        with torch.no_grad():
            found = torch.log_softmax(self.reference(ids[:, :-1]).logits, -1)
        chosen = found.gather(2, ids[:, 1:, None])[:, :, 0]
        return (chosen * counted[:, 1:]).sum(1)

    def loss(self, inputs: dict[str, Tensor]) -> float:
        loss = self.trainer.compute_loss(self.trainer.model, inputs)
        loss.backward()
        return float(loss.detach())


PROMPT_TOKENS = 4


def answers(num_rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Ids of prompts with their answers, and which of them are the answer. (B, T)."""
    ids = random_ids(VOCAB_SIZE, num_rows, 12, seed)
    counted = torch.zeros_like(ids, dtype=torch.bool)
    counted[:, PROMPT_TOKENS:] = True
    return ids, counted


@pytest.mark.filterwarnings("ignore")  # TRL's own
def test_preference_pairs_beside_trl(tmp_path: Path) -> None:
    row = {"prompt": "w5 w6", "chosen": " w7 w8", "rejected": " w9 w10"}
    world = Preferences(tmp_path, DPOTrainer, DPOConfig, row)
    ids, counted = answers(6, 3)  # three chosen answers, then the three rejected ones
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    wanted = world.loss({**inputs, "completion_mask": counted.long()})
    order = torch.tensor([0, 3, 1, 4, 2, 5])  # ours has pairs side by side
    ids, counted = ids[order], counted[order]
    reference = world.reference_log_probs(ids, counted)
    batch = PreferenceBatch(ids[:, :-1], ids[:, 1:], counted[:, 1:], reference)
    found = our_loss(world.ours, batch, losses.preferred(0.3))
    assert found == pytest.approx(wanted, rel=1e-4)
    assert_same_llama(world.ours, world.theirs)


@pytest.mark.filterwarnings("ignore")  # TRL's own
def test_thumbs_beside_trl(tmp_path: Path) -> None:
    row = {"prompt": "w5 w6", "completion": " w7 w8", "label": True}
    world = Preferences(tmp_path, KTOTrainer, KTOConfig, row)
    ids, counted = answers(4, 3)
    other = ids.clone()  # the same prompts with the next one's answer
    other[:, PROMPT_TOKENS:] = ids.roll(1, 0)[:, PROMPT_TOKENS:]
    thumbs = torch.tensor([True, False, False, True])
    whole = torch.ones_like(ids)
    wanted = world.loss(
        {
            "input_ids": ids,
            "attention_mask": whole,
            "completion_mask": counted.long(),
            "KL_input_ids": other,
            "KL_attention_mask": whole,
            "KL_completion_mask": counted.long(),
            "label": thumbs,
        }
    )
    both = torch.stack([ids, other], 1).flatten(0, 1)
    mask = counted.repeat_interleave(2, 0)
    reference = world.reference_log_probs(both, mask)
    batch = PreferenceBatch(both[:, :-1], both[:, 1:], mask[:, 1:], reference, thumbs)
    found = our_loss(world.ours, batch, losses.liked(0.3))
    assert found == pytest.approx(wanted, rel=1e-4)
    assert_same_llama(world.ours, world.theirs)

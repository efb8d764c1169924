"""A base model whose vocabulary grows by the corpus's Chinese."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact, atomic_write
from noria.corpus.language import guess_script
from noria.evaluate.harness import measure_model
from noria.evaluate.metrics import bits_per_byte
from noria.generate.loaded import load_language_model
from noria.model.cost import num_parameters
from noria.model.vocabulary import with_new_tokens
from noria.model.weights import load_decoder, model_weight_hash, save_model
from noria.records import Record, read_records, record_texts
from noria.stages.measuring import sampled, split_records
from noria.stages.stage import Facts, run_stage
from noria.tokenizer.extend import extend_tokenizer
from noria.tokenizer.fertility import measure_fertility
from noria.tokenizer.load import copy_tokenizer, load_tokenizer
from noria.tokenizer.specials import TOKENIZER_FILE
from noria.workspace import Workspace

MEASURED_RECORDS = 16  # of Chinese, held out: what the new rows are worth before any training


def extend_base(workspace: Workspace, corpus: Artifact, base: Artifact) -> Artifact:
    """The base with `tokenizer.extend` new tokens, learned from the training split.

    Its facts are the base's, and before and after: bits per byte and fertility on held-out Chinese.
    Raises UsageError if there is no Chinese to learn from, or the vocabulary is no BPE.
    """
    num_tokens = workspace.recipe.tokenizer.extend

    def make(folder: Path) -> Facts:
        tokenizer = load_tokenizer(base.path)
        text = (base.path / TOKENIZER_FILE).read_text(encoding="utf-8")
        texts = _texts(corpus.path / "train.jsonl")
        extension = extend_tokenizer(tokenizer, text, texts, num_tokens)
        model = with_new_tokens(load_decoder(base.path), extension.first_id, extension.parts)
        save_model(folder, model)
        copy_tokenizer(base.path, folder)
        atomic_write(folder / TOKENIZER_FILE, extension.text.encode("utf-8"))
        records = _held_out_chinese(corpus, base)
        return {
            **base.facts,
            "weight_hash": model_weight_hash(model),
            "num_parameters": num_parameters(model.config),
            "vocab_size": extension.first_id + len(extension.parts),
            "num_new_tokens": len(extension.parts),
            "before": _measured(workspace, base.path, records, "base"),
            "after": _measured(workspace, folder, records, "extended base"),
        }

    return run_stage(
        workspace,
        "extend",
        make,
        settings={"tokens": num_tokens},
        inputs={"base": base.key, "corpus": corpus.key},
        result=_line,
    )


def _line(facts: Facts) -> str:
    line = f"{facts['num_new_tokens']:,} new tokens, {facts['vocab_size']:,} in all"
    if not facts["before"]:
        return line
    before, after = facts["before"], facts["after"]
    return (
        f"{line}; held-out Chinese {before['tokens_per_character']:.2f} → "
        f"{after['tokens_per_character']:.2f} tokens a character, {before['bits_per_byte']:.3f} → "
        f"{after['bits_per_byte']:.3f} bits per byte before any training"
    )


def _texts(path: Path) -> Iterator[str]:
    for record in read_records(path):
        yield from record_texts(record)


def _held_out_chinese(corpus: Artifact, base: Artifact) -> list[Record]:
    found = [
        record
        for record in split_records(corpus, "held_out", base)
        if guess_script("\n".join(record_texts(record))) == "zh"
    ]
    return sampled(found, MEASURED_RECORDS)


def _measured(
    workspace: Workspace, folder: Path, records: list[Record], what: str
) -> dict[str, Any]:
    """Fertility and bits per byte of a model folder on records; nothing where there are none."""
    if not records:
        return {}
    model = load_language_model(folder)
    found = measure_model(
        model, records, lambda done, total: workspace.watcher.progress(what, done, total)
    )
    texts = [text for record in records for text in record_texts(record)]
    value = bits_per_byte(found, seed=workspace.recipe.seed).value
    return {**measure_fertility(model.tokenizer, texts), "bits_per_byte": value}

"""From weights to numbers: evaluation beside the n-gram model, compression and its cost, export."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf, isfinite
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from noria.artifacts import Artifact
from noria.baselines.ngram import load_ngram
from noria.compress.quantize import quantize_model
from noria.corpus.kept import language_of
from noria.evaluate.harness import data_digest, measure_model, measure_ngram
from noria.evaluate.metrics import (
    NUM_RESAMPLES,
    Interval,
    Likelihoods,
    bits_per_byte,
    paired_difference,
)
from noria.evaluate.passed import Passed, share_of
from noria.evaluate.scores import Score, lock_digest, write_scores
from noria.export.gguf import GGUF_FILE, export_gguf
from noria.export.huggingface import export_huggingface
from noria.export.verify import verify_export
from noria.generate.loaded import load_language_model
from noria.model.weights import load_decoder, model_weight_hash, save_model
from noria.recipe import Recipe
from noria.records import Record, read_records, record_texts
from noria.runtime import backend_name, detect_device
from noria.stages.reading import clean_documents
from noria.stages.stage import Facts, run_stage
from noria.tokenizer.load import copy_tokenizer, load_tokenizer
from noria.tokenizer.pack import fitting_records
from noria.workspace import Workspace

MAX_RECORDS = 120  # of a language, about 200 kB; more text moves an interval little
MAX_RECORDS_OVER_BASE = 32
BOOTSTRAP = f"bootstrap of {NUM_RESAMPLES} resamples, or Student's t where that is wider"
RecordT = TypeVar("RecordT")


def max_records(recipe: Recipe) -> int:
    """How many records of a set are measured; a base model takes far longer for each."""
    return MAX_RECORDS_OVER_BASE if recipe.model.base else MAX_RECORDS


def sampled(records: Iterable[RecordT], at_most: int) -> list[RecordT]:
    """So many records, evenly spaced: the frozen set that every model is measured on."""
    found = list(records)
    if len(found) <= at_most:
        return found
    return [found[i * len(found) // at_most] for i in range(at_most)]


def split_records(corpus: Artifact, split: str, model: Artifact) -> Iterator[Record]:
    """The records of a split that the model's chat format can spell; the others were counted."""
    tokenizer = load_tokenizer(model.path)
    return fitting_records(tokenizer, read_records(corpus.path / f"{split}.jsonl"))


def general_records(workspace: Workspace) -> tuple[list[Record], str]:
    """The recipe's general text, at most as much as is measured, and the digest of its files."""
    documents, digest = clean_documents(workspace, workspace.recipe.adapter.general)
    return sampled(documents, max_records(workspace.recipe) // 3), digest


def sampled_by_language(records: Iterable[Record], at_most: int) -> list[Record]:
    """So many records of each language, evenly spaced, in their order."""
    found = list(records)
    groups: dict[str, list[int]] = {}
    for index, record in enumerate(found):
        groups.setdefault(language_of(record), []).append(index)
    kept = sorted(index for group in groups.values() for index in sampled(group, at_most))
    return [found[index] for index in kept]


def parts_by_language(
    name: str, records: Sequence[Record], ours: Likelihoods, theirs: Likelihoods, seed: int
) -> dict[str, dict[str, Any]]:
    """Both models on the records of each language alone; empty where there is but one."""
    languages = [language_of(record) for record in records]
    found = {}
    for language in sorted(set(languages)) if len(set(languages)) > 1 else ():
        chosen = np.array([one == language for one in languages])
        if ours.num_bytes[chosen].sum() == 0:
            continue
        parts = [
            Likelihoods(one.nll_nats[chosen], one.num_bytes[chosen], 0) for one in (ours, theirs)
        ]
        values = [bits_per_byte(part, seed=seed).value for part in parts]
        found[f"{name}, {language}"] = {
            "model": values[0],
            "rival": values[1],
            "num_records": int(chosen.sum()),
            "gap": gap_facts(parts[0], parts[1], seed),
        }
    return found


def likelihoods_of(
    workspace: Workspace, artifact: Artifact, records: Sequence[Record], what: str
) -> Likelihoods:
    """Measure a model folder on records, with progress; what was measured once is read again."""

    def make(folder: Path) -> Facts:
        model = load_language_model(artifact.path)
        model.model.to(detect_device())
        found = measure_model(
            model, records, lambda done, total: workspace.watcher.progress(what, done, total)
        )
        np.save(folder / "nll_nats.npy", found.nll_nats)
        np.save(folder / "num_bytes.npy", found.num_bytes)
        return {"num_tokens": found.num_tokens}

    inputs = {"model": artifact.key, "records": data_digest(records), "backend": backend_name()}
    measured = workspace.store.build("likelihoods", make, inputs=inputs)
    nll_nats, num_bytes = (
        np.load(measured.path / f"{name}.npy", allow_pickle=False)
        for name in ("nll_nats", "num_bytes")
    )
    return Likelihoods(nll_nats, num_bytes, measured.facts["num_tokens"])


def score_of(
    metric: str,
    likelihoods: Likelihoods,
    weight_hash: str,
    records: Sequence[Record],
    seed: int,
    lock: Mapping[str, Any],
) -> Score:
    """A number that knows what it was measured on; `lock` is that of the measured artifact."""
    interval = bits_per_byte(likelihoods, seed=seed)
    return Score(
        metric=metric,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        num_records=len(records),
        num_tokens=likelihoods.num_tokens,
        weight_hash=weight_hash,
        data_digest=data_digest(records),
        seed=seed,
        backend=backend_name(),
        measured_at=time.time(),
        lock_digest=lock_digest(lock),
        confidence=0.95,
        interval=BOOTSTRAP,
    )


def score_of_share(
    workspace: Workspace, family: str, share: Passed, measured: Artifact, digest: str
) -> Score:
    """Likewise of a share of records that passed; `digest` names the records."""
    seed = workspace.recipe.seed
    interval = share_of(share, seed=seed)
    return Score(
        metric=f"{family}.{share.metric}",
        value=interval.value,
        low=interval.low,
        high=interval.high,
        num_records=len(share.ids),
        num_tokens=0,
        weight_hash=measured.facts["weight_hash"],
        data_digest=digest,
        seed=seed,
        backend=backend_name(),
        measured_at=time.time(),
        lock_digest=lock_digest(measured.manifest.lock),
        confidence=0.95,
        interval=BOOTSTRAP,
    )


GapFacts = dict[str, float | None]


def gap_facts(ours: Likelihoods, theirs: Likelihoods, seed: int) -> GapFacts:
    """Bits per byte of ours minus theirs, with its 95% interval; an infinite end is None."""
    gap = paired_difference(ours, theirs, seed=seed)
    ends = {"low": gap.low, "high": gap.high}
    return {"value": gap.value, **{k: v if isfinite(v) else None for k, v in ends.items()}}


def gap_interval(facts: GapFacts) -> Interval:
    """Read a stored gap back."""
    value, low, high = facts["value"], facts["low"], facts["high"]
    assert value is not None  # only ends can be infinite
    return Interval(value, -inf if low is None else low, inf if high is None else high)


def evaluate_trained(
    workspace: Workspace, corpus: Artifact, tokenizer: Artifact, ngram: Artifact, base: Artifact
) -> Artifact:
    """Bits per byte of the model and of the n-gram model on the same held-out text."""
    seed = workspace.recipe.seed

    def make(folder: Path) -> Facts:
        records = sampled_by_language(split_records(corpus, "held_out", base), MAX_RECORDS)
        model = likelihoods_of(workspace, base, records, "model")
        workspace.watcher.progress("n-gram model", 0, 1)
        rival_model = load_ngram(ngram.path)
        rival = measure_ngram(rival_model, load_tokenizer(tokenizer.path), records)
        metric = "corpus.bits_per_byte"
        scores = [
            score_of(metric, model, base.facts["weight_hash"], records, seed, base.manifest.lock),
            score_of(metric, rival, rival_model.weight_hash, records, seed, ngram.manifest.lock),
        ]
        write_scores(folder / "scores.json", scores)
        return {
            "model": scores[0].value,
            "rival": scores[1].value,
            "gaps": {"corpus": gap_facts(model, rival, seed)},
            "parts": parts_by_language("corpus", records, model, rival, seed),
            "num_records": len(records),
        }

    return run_stage(
        workspace,
        "evaluate",
        make,
        settings={"seed": seed, "max_records": MAX_RECORDS},
        inputs={"model": base.key, "ngram": ngram.key, "corpus": corpus.key},
        result=_evaluate_line,
    )


def _evaluate_line(facts: Facts) -> str:
    gap = gap_interval(facts["gaps"]["corpus"])
    if gap.high < 0:
        verdict = "the Transformer is better"
    elif gap.low > 0:
        verdict = "the n-gram model is better"
    else:
        verdict = "no difference can be seen"
    line = (
        f"{facts['model']:.3f} bits per byte, 5-gram {facts['rival']:.3f}: {verdict} "
        f"(difference {gap.value:+.3f}, 95% {gap.low:+.3f} to {gap.high:+.3f})"
    )
    for name, part in facts["parts"].items():
        own = gap_interval(part["gap"])
        line += (
            f"; {name}: {part['model']:.3f} against {part['rival']:.3f}, "
            f"{own.value / part['rival']:+.1%} ({own.low / part['rival']:+.1%} to "
            f"{own.high / part['rival']:+.1%})"
        )
    return line


def compress_model(workspace: Workspace, corpus: Artifact, base: Artifact) -> Artifact | None:
    """The same model with 8-bit weights, and what that cost; None if the recipe wants none."""
    method = workspace.recipe.compress.method
    if method == "none":
        return None
    seed = workspace.recipe.seed

    def make(folder: Path) -> Facts:
        small = quantize_model(load_decoder(base.path), method)
        save_model(folder, small)
        copy_tokenizer(base.path, folder)
        weight_hash = model_weight_hash(small)
        records = sampled(split_records(corpus, "held_out", base), max_records(workspace.recipe))
        full = likelihoods_of(workspace, base, records, "full weights")
        watch = workspace.watcher
        eight = measure_model(
            load_language_model(folder), records, lambda d, t: watch.progress("8-bit weights", d, t)
        )
        lock = base.manifest.lock
        scores = [score_of("corpus.bits_per_byte", eight, weight_hash, records, seed, lock)]
        write_scores(folder / "scores.json", scores)
        return {
            "weight_hash": weight_hash,
            "num_bytes": (folder / "model.safetensors").stat().st_size,
            "num_bytes_before": (base.path / "model.safetensors").stat().st_size,
            "int8_minus_full": gap_facts(eight, full, seed),
        }

    return run_stage(
        workspace,
        "compress",
        make,
        settings={"method": method, "seed": seed, "max_records": max_records(workspace.recipe)},
        inputs={"model": base.key, "corpus": corpus.key},
        result=lambda facts: _compress_line(method, facts),
    )


def _compress_line(method: str, facts: Facts) -> str:
    cost = gap_interval(facts["int8_minus_full"])
    before, after = facts["num_bytes_before"] / 1e6, facts["num_bytes"] / 1e6
    return (
        f"{method}: {before:.1f} → {after:.1f} MB, cost {cost.value:+.5f} bits per byte "
        f"(95% {cost.low:+.5f} to {cost.high:+.5f})"
    )


def export_model(workspace: Workspace, corpus: Artifact, model: Artifact) -> Artifact:
    """Write the other layouts, read them back, and compare with what was evaluated."""

    gguf = workspace.recipe.export.gguf

    def make(folder: Path) -> dict[str, Any]:
        records = sampled(read_records(corpus.path / "held_out.jsonl"), 4)
        texts = [record_texts(record)[0] for record in records]
        export_huggingface(model.path, folder)
        facts = {**verify_export(model.path, folder, texts), "gguf": None}
        if gguf:
            workspace.watcher.progress("writing GGUF", 1, 2)
            export_gguf(model.path, folder / GGUF_FILE)
            facts["gguf"] = verify_export(model.path, folder / GGUF_FILE, texts)
        return facts

    return run_stage(
        workspace,
        "export",
        make,
        settings={"gguf": True} if gguf else None,
        inputs={"model": model.key, "corpus": corpus.key},
        result=lambda facts: (
            f"Hugging Face layout (Llama){' and GGUF' if facts.get('gguf') else ''}, read back: "
            "same weights, same logits"
        ),
    )

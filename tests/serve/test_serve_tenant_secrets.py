"""A secret that one tenant's people wrote can't be drawn from what serves another tenant.

Planted are random codes (Carlini et al. 2019, "The Secret Sharer") in the corrections of tenant A.
Both tenants' models are trained from the same weights, each on what its own tenant's store holds,
and asked over HTTP with each tenant's own key; the ranks are those of the weights that answered.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pytest
from serving_world import NAME, World

from noria.generate.loaded import LanguageModel, load_language_model
from noria.generate.scoring import score_tokens
from noria.improve.challenger import Start, train_from_champion
from noria.improve.curate import curate
from noria.improve.heard import heard_of
from noria.model.config import ModelConfig
from noria.model.transformer import build_decoder
from noria.model.weights import save_model
from noria.recipe import ImproveSettings
from noria.records import record_texts
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.pack import write_shard
from noria.tokenizer.train import train_tokenizer
from noria.train.plan import Choices

TENANTS = ("acme", "bolt")
NAMES = ("blue", "red", "green", "white", "black", "grey")  # no persons: those are replaced
NUM_CODES = 20  # of the same form, among which a planted one is ranked
HEARD = ImproveSettings(steps=180, learning_rate=0.005, replay=0.2)


def code(draw: random.Random) -> str:
    return "".join(draw.choices("ABCDEFGHJKLMNPRSTUVWXYZ", k=6))


PLANTED = {name: code(random.Random(name)) for name in NAMES}
OTHERS = {name: code(random.Random(f"bolt {name}")) for name in NAMES}


def prompt_of(name: str) -> str:
    return f"The word of the {name} box is"


def write_champion(folder: Path, corpus: Path) -> None:
    draw = random.Random(0)
    texts = [f"{prompt_of(name)} {code(draw)}." for name in (*NAMES, "brown") for _ in range(10)]
    facts = train_tokenizer(texts, 300, folder, "plain")
    tokenizer = load_tokenizer(folder)
    sequences = [([*tokenizer.encode(text), tokenizer.end_id], None) for text in texts]
    write_shard(corpus, sequences, facts["vocab_size"], tokenizer.end_id)
    save_model(folder, build_decoder(ModelConfig(facts["vocab_size"], 64, 2, 64, 2, 2, 128), 1))


@dataclass(frozen=True)
class Served:
    """A server over both tenants' models; of each tenant a key, and the weights that answer it."""

    world: World
    keys: dict[str, str]
    models: dict[str, LanguageModel]

    def draw(self, tenant: str, name: str) -> str:
        body = {"model": NAME, "prompt": prompt_of(name), "temperature": 0, "max_tokens": 16}
        answer = self.world.http(self.keys[tenant]).post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["weight_hash"] == self.models[tenant].weight_hash
        return str(answer.json()["choices"][0]["text"])

    def rank(self, tenant: str, name: str, planted: str) -> int:
        """The place of a planted code among random ones, 1 the likeliest."""
        draw = random.Random(f"rank {name}")
        scores = [
            self._likelihood(tenant, f"{prompt_of(name)} {one}.")
            for one in (planted, *(code(draw) for _ in range(NUM_CODES - 1)))
        ]
        return sum(one >= scores[0] for one in scores)

    def _likelihood(self, tenant: str, text: str) -> float:
        model = self.models[tenant]
        return sum(score_tokens(model, model.tokenizer.encode(text), 1).log_probs)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    world = World(tmp_path_factory.mktemp("tenants"))
    champion, corpus = world.root / "artifacts" / "champion", world.root / "corpus"
    champion.mkdir(parents=True)
    write_champion(champion, corpus)
    for tenant, said in zip(TENANTS, (PLANTED, OTHERS), strict=True):
        for name, word in said.items():
            asked = world.feedback.record_interaction(
                tenant=tenant,
                model_name=NAME,
                weight_hash="0" * 64,
                kind="completion",
                prompt=prompt_of(name),
                answer=" nothing.",
                interaction_id=f"{tenant}-{name}",
            )
            world.feedback.record_feedback(tenant, asked.id, "correction", f" {word}.")
    start = Start(champion, None, "", "float32", corpus, None, 0.0, 64, 512)
    choices = Choices("float32", compile=False, micro_batch_sequences=8, num_threads=1)
    for tenant, said_of in zip(TENANTS, (PLANTED, OTHERS), strict=True):
        heard = heard_of(
            curate(world.feedback.said(tenant), 0.0), world.feedback.interactions(tenant), 0.0
        )
        texts = {record_texts(one) for one in heard.texts}
        assert texts == {(prompt_of(name), f" {said_of[name]}.") for name in NAMES}
        folder = world.root / "artifacts" / f"of-{tenant}"
        folder.mkdir()
        facts = train_from_champion(
            start, heard, HEARD, choices, 1, world.root / f"steps-{tenant}", folder, lambda _: None
        )
        weights = facts["weight_hash"]
        world.registry.register(tenant, NAME, weights, f"artifacts/{folder.name}", "challenger")
        world.registry.promote(tenant, NAME, weights, "test", "test")
    world.start()
    keys = {tenant: world.new_key("use", tenant=tenant) for tenant in TENANTS}
    models = {
        tenant: load_language_model(world.root / "artifacts" / f"of-{tenant}") for tenant in TENANTS
    }
    yield Served(world, keys, models)
    world.close()


def test_what_serves_the_tenant_who_said_it_knows_the_secret(served: Served) -> None:
    told = [name for name in NAMES if PLANTED[name] in served.draw("acme", name)]
    assert len(told) >= 3, told
    assert mean(served.rank("acme", name, PLANTED[name]) for name in NAMES) < 3


def test_what_serves_another_tenant_does_not(served: Served) -> None:
    assert not [name for name in NAMES if PLANTED[name] in served.draw("bolt", name)]
    ranks = [served.rank("bolt", name, PLANTED[name]) for name in NAMES]
    # Six uniform ranks from 1 to 20 have a mean of 10.5, with a standard deviation of 2.4.
    assert 4 < mean(ranks) < 17, ranks
    assert mean(served.rank("bolt", name, OTHERS[name]) for name in NAMES) < 3  # it did learn

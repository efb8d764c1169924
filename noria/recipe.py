"""The settings of a loop: frozen dataclasses, each field with its default, bounds and explanation.

The recipe reference in the docs is generated from them; `recipe_file.py` reads them from TOML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from noria.task_settings import TaskSettings
from noria.text_settings import CorpusSettings, PackageSettings, SourceSettings
from noria.toml_tables import setting

TENANT = "default"  # who owns what a recipe makes, unless a key of another tenant asks
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
PRESET_PATTERN = re.compile(r"decoder-(\d+)(m|b)")
SHARE_PATTERN = re.compile(
    r"((?!0+(\.0+)?%)(?P<percent>\d{1,2}(\.\d+)?)% for (?P<requests>[1-9]\d{0,6}) requests)?"
)
REQUIREMENT_PATTERN = re.compile(
    r"(?P<metric>[a-z0-9][a-z0-9_-]*(\.feedback)?\.[a-z0-9_]+)"
    r"\s*(?P<relation><=|<|>=|>)\s*(?P<rival>champion|control)"
)
TEXT_SETS = ("corpus", "feedback", "frozen", "general")  # on which a language model is measured
SAFETY_SET, PREFERENCE_SET = (
    "safety",
    "preferences",
)  # what it answers, which answer it finds likelier
TEXT_METRICS = {  # of each set of a language model: its metric, and which way is better
    **dict.fromkeys(TEXT_SETS, ("bits_per_byte", "<")),
    SAFETY_SET: ("pass_rate", ">"),
    PREFERENCE_SET: ("accuracy", ">"),
}
FEEDBACK_SETS = ("feedback", PREFERENCE_SET)  # more feedback makes them larger
SAFETY_DEFAULT = "safety.pass_rate >= champion"
# No password stands in a recipe: it is shared, and reports tell it.
DATABASE_PATTERN = re.compile(r"(postgresql(\+psycopg)?://(?!.*password)([^\s:@/]+@)?[^\s@]*)?")


@dataclass(frozen=True)
class TokenizerSettings:
    """How text becomes tokens."""

    vocab_size: int = setting(
        4096,
        "Number of tokens, special ones included; a base brings its own.",
        low=300,
        high=262_144,
    )
    kind: str = setting(
        "bpe",
        "How the vocabulary is learned and text divided: merges, the likeliest division, or the "
        "longest token first. Each starts from bytes and gives every text back.",
        choices=("bpe", "unigram", "wordpiece"),
    )
    extend: int = setting(
        0,
        "New tokens to learn from the corpus's Chinese for a base's vocabulary; each begins as the "
        "mean of the tokens that it joins. 0: the vocabulary stays as it is.",
        low=0,
        high=65_536,
    )


@dataclass(frozen=True)
class ModelSettings:
    """Which Transformer."""

    base: str = setting(
        "",
        "What to start from: `smollm2-135m-instruct`, a folder in Hugging Face's layout or a GGUF "
        "file; empty: random weights.",
    )
    preset: str = setting(
        "decoder-2m",
        "Size by one dial: decoder-1m … decoder-1b; a base has its own.",
        pattern=PRESET_PATTERN,
        example="decoder-10m",
    )
    context_tokens: int = setting(
        256, "Longest sequence in tokens; over a base: in training.", low=16, high=131_072
    )


@dataclass(frozen=True)
class AdapterSettings:
    """How a base model is tuned: low-rank updates (LoRA) beside its frozen weights."""

    rank: int = setting(16, "Rank of each update.", low=1, high=1024)
    alpha: float = setting(32.0, "Updates are scaled by alpha / rank.", low=0.001, high=10_000.0)
    base_precision: str = setting(
        "float32",
        "Numbers of the frozen weights while the adapter trains; int8 is a quarter of the memory.",
        choices=("float32", "int8"),
    )
    targets: tuple[str, ...] = setting(
        ("query", "key", "value", "output", "gate", "up", "down"),
        "Which matrices of every block have one.",
        choices=("query", "key", "value", "output", "gate", "up", "down"),
    )
    replay: tuple[str, ...] = setting(
        (), "Globs of general text that is mixed into training, against forgetting."
    )
    replay_share: float = setting(
        0.15, "Share of the sequences of a batch that are replayed.", low=0.01, high=0.9
    )
    general: tuple[str, ...] = setting(
        (), "Globs of general text that nothing trains on: what tuning forgets is measured on it."
    )


@dataclass(frozen=True)
class TrainSettings:
    """How the model is trained, from random weights or over a base."""

    tokens: int = setting(
        0,
        "Tokens to train on; 0: 20 a parameter, at most 4 passes; over a base 2 passes.",
        low=0,
        high=10**13,
    )
    batch_tokens: int = setting(8192, "Tokens of one optimizer step.", low=64, high=2**24)
    optimizer: str = setting(
        "adamw",
        "With Muon, the matrices inside blocks have it, and everything else has AdamW.",
        choices=("adamw", "muon", "adam", "sgd", "adafactor"),
    )
    learning_rate: float = setting(
        0.0,
        "Peak learning rate; 0: 0.003 from random weights, 0.0005 over a base.",
        low=0.0,
        high=1.0,
    )
    warmup: float = setting(0.05, "Share of the steps with rising rate.", low=0.0, high=0.5)
    final_learning_rate: float = setting(
        0.05, "Last learning rate as a share of the peak.", low=0.0, high=1.0
    )
    apart: bool = setting(
        False,
        "Documents and chats that stand side by side in a row do not read each other; over a base "
        "rows are then filled with whole chats, and hardly padded.",
    )
    schedule: str = setting(
        "cosine",
        "The way down: a cosine, a straight line, or the peak and a line in the last fifth.",
        choices=("cosine", "linear", "stable"),
    )
    weight_decay: float = setting(0.1, "Decay of matrices; norms have none.", low=0.0, high=1.0)
    clip: float = setting(1.0, "Largest norm of the gradient.", low=0.01, high=100.0)
    label_smoothing: float = setting(
        0.0, "Share of each target that is spread over the vocabulary.", low=0.0, high=0.5
    )
    dropout: float = setting(
        0.0,
        "Share of hidden vectors and attention weights dropped, from random weights.",
        low=0.0,
        high=0.9,
    )
    average: float = setting(
        0.0,
        "Decay of the running mean of the weights that training ends with; 0: the last weights.",
        low=0.0,
        high=0.99999,
    )
    patience: int = setting(
        0,
        "Stop after so many points of the held-out curve without a better one; 0: never.",
        low=0,
        high=12,
    )
    keep_best: bool = setting(
        False, "End with the weights of the best point of the held-out curve."
    )
    recompute: bool = setting(
        False, "Keep less for the backward pass and compute it again: slower, less memory."
    )
    spike: float = setting(
        0.0,
        "A loss so many times the mean of the last 20 steps is a spike; 0: only what is no number.",
        low=0.0,
        high=1000.0,
    )
    on_spike: str = setting(
        "stop",
        "Stop and name the batch, or go back to the last checkpoint and past the batch.",
        choices=("stop", "back"),
    )
    shard: bool = setting(
        False,
        "Several processes (`torchrun`) share the weights, instead of each having all of them.",
    )
    precision: str = setting(
        "auto",
        "Of matrix products; auto measures and writes its choice into the lock.",
        choices=("auto", "float32", "bfloat16"),
    )
    compile: str = setting(
        "auto",
        "Whether `torch.compile` is used; auto measures where a compiler is; over a base never.",
        choices=("auto", "on", "off"),
    )


@dataclass(frozen=True)
class SearchSettings:
    """Which settings of [train] `noria search` tries, and between which bounds."""

    trials: int = setting(16, "How many trainings are begun.", low=1, high=10_000)
    tokens: int = setting(
        0, "Tokens that each trains on; 0: as many as the real one.", low=0, high=10**13
    )
    learning_rate: tuple[float, ...] = setting(
        (), "Lowest and highest; tried evenly on a logarithmic scale.", low=1e-7, high=1.0
    )
    weight_decay: tuple[float, ...] = setting((), "Lowest and highest.", low=0.0, high=1.0)
    warmup: tuple[float, ...] = setting((), "Lowest and highest.", low=0.0, high=0.5)
    label_smoothing: tuple[float, ...] = setting((), "Lowest and highest.", low=0.0, high=0.5)
    dropout: tuple[float, ...] = setting((), "Lowest and highest.", low=0.0, high=0.9)
    batch_tokens: tuple[int, ...] = setting((), "Which ones.", low=64, high=2**24)
    optimizer: tuple[str, ...] = setting(
        (), "Which ones.", choices=("adamw", "muon", "adam", "sgd", "adafactor")
    )
    schedule: tuple[str, ...] = setting((), "Which ones.", choices=("cosine", "linear", "stable"))


@dataclass(frozen=True)
class TrackSettings:
    """Where the numbers of a training go beside `metrics.jsonl`."""

    mlflow: str = setting(
        "",
        "An MLflow store to mirror them to: `sqlite:///runs.db` or a server's address; needs the "
        "extra `track`.",
    )


@dataclass(frozen=True)
class CompressSettings:
    """How the trained model is made smaller."""

    method: str = setting(
        "int8",
        "Weights of matrices as 8-bit integers; int8-dynamic rounds inputs too; or none.",
        choices=("int8", "int8-dynamic", "none"),
    )


@dataclass(frozen=True)
class ExportSettings:
    """What other programs get: Hugging Face's layout, always."""

    gguf: bool = setting(
        False, "Also a GGUF file, which llama.cpp reads; needs the extra `export` and a base."
    )


@dataclass(frozen=True)
class ServeSettings:
    """How the live model is served."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8642, "Port to listen on; 0: any free one.", low=0, high=65_535)
    max_running: int = setting(8, "Answers written at the same time.", low=1, high=1024)
    max_waiting: int = setting(64, "Requests that wait; beyond them 429.", low=0, high=100_000)
    max_wait_s: float = setting(
        60.0, "Seconds that a request waits for its turn; beyond them 503.", low=0.01, high=86_400.0
    )
    tenant_tokens_per_minute: int = setting(
        0,
        "Tokens of prompts and answers that a tenant may use in a minute; beyond them 429. 0: any.",
        low=0,
        high=10**9,
    )
    max_prompt_characters: int = setting(
        0, "Longest prompt, all its turns together; longer ones 400. 0: any.", low=0, high=10**7
    )
    refused_prompts: tuple[str, ...] = setting(
        (), "Regular expressions; a prompt in which one is found is refused with 400."
    )
    refused_answers: tuple[str, ...] = setting(
        (), "Regular expressions; an answer in which one is found is withheld (`content_filter`)."
    )
    topics_by: str = setting(
        "", "An application of this recipe that classifies: it tells a prompt's topic."
    )
    refused_topics: tuple[str, ...] = setting(
        (), "Labels of that application; a prompt whose last turn has one is refused with 400."
    )
    topics_at_least: float = setting(
        0.0, "Probability that such a label must have at least; 0: any.", low=0.0, high=1.0
    )


@dataclass(frozen=True)
class FeedbackSettings:
    """Where what users say is kept, and for how long; and simulated users.

    Their held-back text of another kind corrects the model's answers.
    """

    database: str = setting(
        "",
        "A PostgreSQL in the place of `feedback.sqlite`; needs the extra `postgres`. With a "
        "password it goes into `NORIA_DATABASE`, which comes first.",
        pattern=DATABASE_PATTERN,
        example="postgresql://noria@localhost/noria",
    )
    keep_days: int = setting(
        0,
        "Interactions and feedback older than that are deleted; 0: none.",
        low=0,
        high=36_500,
    )
    simulate: tuple[str, ...] = setting(
        (), "Globs of text whose passages play the users; empty: nobody is simulated."
    )
    simulate_chats: tuple[str, ...] = setting(
        (), "Globs of conversations that play them: the last answer is the correction."
    )
    requests: int = setting(
        200, "How many passages or chats are asked and corrected.", low=1, high=100_000
    )
    placebo: bool = setting(
        False, "Shuffle the letters of all corrections: feedback that says nothing."
    )


@dataclass(frozen=True)
class ImproveSettings:
    """How a challenger is trained on feedback, and its control without."""

    steps: int = setting(60, "Optimizer steps of challenger and control.", low=0, high=10**7)
    learning_rate: float = setting(0.001, "Peak learning rate.", low=1e-7, high=1.0)
    replay: float = setting(
        0.5, "Share of each batch that is text of the original corpus.", low=0.05, high=0.95
    )
    held_out: float = setting(
        0.3, "Share of the feedback that is kept out of training for the gate.", low=0.05, high=0.9
    )
    after_feedback: int = setting(
        0,
        "`noria improve --watch` takes a turn after so much new feedback; 0: not by that.",
        low=0,
        high=10**9,
    )
    every_hours: float = setting(
        0.0, "Likewise after so many hours; 0: not by that.", low=0.0, high=10**5
    )
    after_drift: float = setting(
        0.0,
        "Likewise when inputs are so far from those that were evaluated (0 to 2); 0: not by that.",
        low=0.0,
        high=2.0,
    )
    share: bool = setting(
        False, "A tenant's turn learns from every tenant's feedback, not from its own alone."
    )
    shadow: str = setting(
        "",
        "First the challenger answers a copy of a share of the requests, which nobody sees.",
        pattern=SHARE_PATTERN,
        example="20% for 200 requests",
    )
    canary: str = setting(
        "",
        "Then it answers a share of the persons, for so many requests at least, before it is live.",
        pattern=SHARE_PATTERN,
        example="10% for 500 requests",
    )


# Of these no training depends: of what is learned the feedback itself tells.
RELEASING = ("after_feedback", "every_hours", "after_drift", "share", "shadow", "canary")


@dataclass(frozen=True)
class RollbackSettings:
    """When `noria improve --watch` takes a promotion back; a pinned or first version it reports."""

    requests: int = setting(
        200,
        "Of how many of the latest requests errors, latency and distance are.",
        low=20,
        high=10**6,
    )
    errors: float = setting(
        0.1, "Share of requests that may fail, 95% surely; 1: any.", low=0.001, high=1.0
    )
    thumbs_down: float = setting(
        0.6, "Share of thumbs that may point down, likewise; 1: any.", low=0.001, high=1.0
    )
    latency_s: float = setting(
        0.0,
        "Seconds that 95% of the answers may take, known to a factor of 2; 0: any.",
        low=0.0,
        high=10**5,
    )
    distance: float = setting(
        0.0,
        "How far inputs may be from those that were evaluated (0 to 2); 0: any.",
        low=0.0,
        high=2.0,
    )


@dataclass(frozen=True)
class GateSettings:
    """What a challenger has to show before it goes live.

    Of a language model: `corpus` is measured on the corpus's held-out share, `feedback` on held-out
    corrections, `frozen` on text that was set aside before anyone gave feedback, `general` on a
    base model's `adapter.general`, all in `bits_per_byte`; `preferences.accuracy` is the share of
    held-out pairs whose preferred answer is likelier, `safety.pass_rate` the share of safety
    prompts that are answered within their rules. Of an application: its name stands for its
    held-out rows, `NAME.feedback` for held-out feedback.
    """

    frozen: tuple[str, ...] = setting(
        (), "Globs of text like what users want; the gate measures on it, nothing trains on it."
    )
    require: tuple[str, ...] = setting(
        (
            "corpus.bits_per_byte <= champion",
            "feedback.bits_per_byte <= champion",
            "feedback.bits_per_byte < control",
        ),
        "`<=` or `>=`: not worse by more than the margin; `<` or `>`: better. All with 95% "
        "confidence. Of an application that none names: its main metric `>= champion` and "
        "`> control`.",
        pattern=REQUIREMENT_PATTERN,
        example="intent.macro_f1 >= champion",
    )
    safety: tuple[str, ...] = setting(
        (),
        "JSON Lines of prompts with patterns that an answer must or must not have. Where there are "
        "some, `safety.pass_rate >= champion` is required.",
    )
    margin: float = setting(
        0.03, "Largest loss in bits per byte that counts as not worse.", low=0.0, high=10.0
    )
    score_margin: float = setting(
        0.01,
        "Largest loss in any other metric, such as accuracy or F1, that counts as not worse.",
        low=0.0,
        high=1.0,
    )
    latency: float = setting(
        2.0,
        "How many times the champion's latency a challenger may have; 0: any. An application "
        "may always take 50 ms.",
        low=0.0,
        high=1000.0,
    )
    memory: float = setting(
        4.0,
        "How many times the champion's weights a challenger may hold in bytes; 0: any. An "
        "application's may always hold 64 MiB.",
        low=0.0,
        high=1000.0,
    )
    review: bool = setting(
        True,
        "The first promotion over a live model, by the loop or by hand, waits until a person has "
        "signed a review: `noria review`.",
    )

    @property
    def of_text(self) -> tuple[str, ...]:
        """The requirements on a language model; the default ones where the recipe names none."""
        safety = self._those_of((SAFETY_SET,)) or ((SAFETY_DEFAULT,) if self.safety else ())
        of_sets = self._those_of(TEXT_SETS) or GateSettings().require
        return (*of_sets, *self._those_of((PREFERENCE_SET,)), *safety)

    @property
    def judges_preferences(self) -> bool:
        """Whether a requirement speaks of held-out pairs."""
        return bool(self._those_of((PREFERENCE_SET,)))

    def of_task(self, name: str, metric: str) -> tuple[str, ...]:
        """The requirements on an application whose main metric it is, likewise."""
        default = (f"{name}.{metric} >= champion", f"{name}.{metric} > control")
        return self._those_of((name,)) or default

    def _those_of(self, families: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one for one in self.require if one.partition(".")[0] in families)


@dataclass(frozen=True)
class CardSettings:
    """What only people know, for the model card that every run writes."""

    intended_use: str = setting("", "What the model is for, and for whom.")
    limits: tuple[str, ...] = setting(
        (), "What it must not be used for, and what is known to go wrong; a sentence each."
    )


@dataclass(frozen=True)
class Recipe:
    """A whole loop."""

    name: str = setting(doc="Name of the model.", pattern=NAME_PATTERN, example="helpdesk")
    seed: int = setting(1, "Every random choice starts from it.", low=0, high=2**31 - 1)
    packages: Mapping[str, PackageSettings] = field(default_factory=dict)
    sources: Mapping[str, SourceSettings] = field(default_factory=dict)
    tasks: Mapping[str, TaskSettings] = field(default_factory=dict)
    corpus: CorpusSettings = CorpusSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    model: ModelSettings = ModelSettings()
    adapter: AdapterSettings = AdapterSettings()
    train: TrainSettings = TrainSettings()
    search: SearchSettings = SearchSettings()
    track: TrackSettings = TrackSettings()
    compress: CompressSettings = CompressSettings()
    export: ExportSettings = ExportSettings()
    serve: ServeSettings = ServeSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    improve: ImproveSettings = ImproveSettings()
    rollback: RollbackSettings = RollbackSettings()
    gate: GateSettings = GateSettings()
    card: CardSettings = CardSettings()

    @property
    def simulates_users(self) -> bool:
        """Whether a run turns the wheel by itself."""
        return bool(self.feedback.simulate or self.feedback.simulate_chats)

    @property
    def has_text(self) -> bool:
        """Whether the recipe names anything for a language model to learn from."""
        corpus = self.corpus
        return bool(corpus.documents or corpus.tagged or corpus.conversations or self.sources)

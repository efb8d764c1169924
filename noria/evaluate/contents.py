"""What a report holds, as plain values: numbers and words come in, nothing is measured here."""

from __future__ import annotations

from dataclasses import dataclass

from noria.corpus.measured import MeasuredKind
from noria.evaluate.confusion import Bin, Confused
from noria.evaluate.metrics import Interval
from noria.evaluate.picture import Chart


@dataclass(frozen=True)
class StageRow:
    """What a stage did, how long it took, the most memory it held, and whether it was re-used."""

    name: str
    result: str
    elapsed_s: float
    peak_bytes: int
    reused: bool


@dataclass(frozen=True)
class QuarantineRow:
    """One reason why pieces of the corpus's files are no records: how many, and the first."""

    reason: str
    count: int
    place: str
    value: str


@dataclass(frozen=True)
class ScoreRow:
    """A score in bits per byte: what was measured, on what, and on exactly which weights."""

    model: str
    records: str
    value: Interval
    num_records: int
    weight_hash: str


@dataclass(frozen=True)
class SpeedRow:
    """A number of speed or memory in `unit`; on exactly which weights, and on which machine."""

    what: str
    unit: str
    value: Interval
    num_answers: int
    weight_hash: str
    machine: str


@dataclass(frozen=True)
class BaselineSection:
    """Bits per byte of the model and of its rival, and the interval of model - rival."""

    subject: str
    name: str
    model: float
    baseline: float
    difference: Interval


@dataclass(frozen=True)
class CompressionSection:
    """What smaller weights brought and cost: compressed minus full, in bits per byte."""

    method: str
    bytes_before: int
    bytes_after: int
    difference: Interval


@dataclass(frozen=True)
class IdentitiesSection:
    """What was replaced in the corpus, by kind; whether names were looked for; what was measured.

    `measured_on` is the day of the measurement, which is the toolkit's, not this run's.
    """

    counts: tuple[tuple[str, int], ...]
    names: str
    measured_on: str
    measured: tuple[MeasuredKind, ...]


@dataclass(frozen=True)
class SampleRow:
    """A prompt, and what the champion and the model that is live now made of it."""

    prompt: str
    champion: str
    live: str


@dataclass(frozen=True)
class DifferenceRow:
    """A difference in bits per byte (below zero: the first is better) and what it is about."""

    what: str
    difference: Interval


@dataclass(frozen=True)
class FertilityRow:
    """What the tokenizer makes of the held-out text of one language."""

    language: str
    num_tokens: int
    bytes_per_token: float
    tokens_per_word: float
    tokens_per_character: float


@dataclass(frozen=True)
class GateRow:
    """One comparison of the gate: its interval has to end on the right side of `bound`.

    `word`: holds, not shown, broken; of a slice, worse. `num_needed`: so many records would
    probably decide what these did not.
    """

    requirement: str
    difference: Interval
    bound: float
    word: str
    smallest_visible: float
    num_records: int
    num_needed: int | None


@dataclass(frozen=True)
class LimitRow:
    """A cost of the challenger beside the champion's, and how many times that is allowed."""

    what: str
    unit: str
    champion: float
    challenger: float
    most: float
    passed: bool


@dataclass(frozen=True)
class GateSection:
    """The gate's verdict and all that it rests on; `name`: of an application, "" of the model.

    `decision` is promote, refuse, or not enough evidence; `failed_prompts` are the safety prompts
    whose rules the challenger breaks.
    """

    name: str
    decision: str
    requirements: tuple[GateRow, ...]
    gains: tuple[GateRow, ...]
    regressions: tuple[GateRow, ...]
    num_slices: int
    limits: tuple[LimitRow, ...]
    reasons: tuple[str, ...]
    confidence: float
    family_alpha: float
    spent_alpha: float
    read_number: int
    failed_prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class AuditRow:
    """One entry of the audit trail; `at` in seconds since 1970."""

    at: float
    actor: str
    event: str
    weight_hash: str
    reason: str


@dataclass(frozen=True)
class NextCommand:
    """A command to try next, and what it does."""

    command: str
    what: str


@dataclass(frozen=True)
class MetricRow:
    """A metric of a classifier or tagger, and its weights; of one label or of all."""

    metric: str
    label: str
    value: Interval
    num_records: int
    weight_hash: str


@dataclass(frozen=True)
class ClassesSection:
    """What a classifier does: its metrics, what it takes for what, how sure it rightly is.

    Of a tagger, or of texts with many labels, there are metrics alone.
    """

    name: str
    metrics: tuple[MetricRow, ...]
    labels: tuple[str, ...]
    confused: tuple[Confused, ...]
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class WayRow:
    """One way to a model of an application: how good on the test, and what it costs.

    `value` is the mean over its trainings, which differ in their seed.
    `against` is way - baseline in the section's metric, None of the baseline itself; `verdict` says
    of it what is shown. `latency_s` is the median of one answer, `latency_p95_s` what one in twenty
    takes at least; `peak_bytes` the memory of the process that trained it.
    """

    way: str
    served: bool
    value: Interval
    num_trainings: int
    against: Interval | None
    verdict: str
    train_s: float
    latency_s: float
    latency_p95_s: float
    num_bytes: int
    peak_bytes: int
    weight_hash: str

    @property
    def name(self) -> str:
        """The way, and of how many trainings its value is the mean."""
        return self.way if self.num_trainings == 1 else f"{self.way}, mean of {self.num_trainings}"


@dataclass(frozen=True)
class WaysSection:
    """Whether a Transformer earns its cost in an application; `remarks` say what was chosen."""

    name: str
    metric: str
    num_records: int
    rows: tuple[WayRow, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class DataRow:
    """Text of one source and language: its licence as stated, and how many records of each use."""

    source: str
    language: str
    licence: str
    train: int
    held_out: int
    test: int


@dataclass(frozen=True)
class CardSection:
    """What a model card says beside the numbers; each sentence whole, as it is to be read.

    `reviews`: what people signed of intended use, misuse and affected groups.
    """

    intended_use: str
    data: tuple[DataRow, ...]
    limits: tuple[str, ...]
    contamination: tuple[str, ...]
    not_measured: tuple[str, ...]
    reviews: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All that the page, the model card and the JSON show; a part without values is left out.

    `breakdown` are model - rival on each kind of text alone; `contributions` are challenger -
    control; `afterwards` are challenger - champion on text that no gate reads.
    """

    name: str
    made_at: float
    machine: str
    headline: str
    live_hash: str
    stages: tuple[StageRow, ...]
    quarantine: tuple[QuarantineRow, ...] = ()
    fertility: tuple[FertilityRow, ...] = ()
    identities: IdentitiesSection | None = None
    charts: tuple[Chart, ...] = ()
    scores: tuple[ScoreRow, ...] = ()
    baseline: BaselineSection | None = None
    breakdown: tuple[DifferenceRow, ...] = ()
    classes: tuple[ClassesSection, ...] = ()
    ways: tuple[WaysSection, ...] = ()
    compression: CompressionSection | None = None
    speed: tuple[SpeedRow, ...] = ()
    samples: tuple[SampleRow, ...] = ()
    contributions: tuple[DifferenceRow, ...] = ()
    gates: tuple[GateSection, ...] = ()
    afterwards: tuple[DifferenceRow, ...] = ()
    audit: tuple[AuditRow, ...] = ()
    next_commands: tuple[NextCommand, ...] = ()
    card: CardSection | None = None

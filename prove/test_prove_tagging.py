"""A megabyte of text through taggers: every span on the characters that it names."""

from __future__ import annotations

from pathlib import Path

from tagged_news import tagged_news

from noria.baselines.crf import CrfPlan, train_crf
from noria.baselines.interface import TokenScorer
from noria.records import Span
from noria.tasks.bio import best_tags, joined_log_probabilities, spans_of, tags_of
from noria.tasks.encoder_tagger import load_encoder_tagger
from noria.tasks.words import passages, tokens_of, words_of
from noria.train.lessons import EncoderPlan
from noria.train.taggers import train_scratch_tagger

MEGABYTE = 1_000_000


def spans_in(text: str, scorers: list[TokenScorer]) -> list[Span]:
    tokens = tokens_of(text)
    cuts = list(passages(text, tokens))
    words = [[token.text for token in tokens[first:last]] for first, last in cuts]
    answers = zip(*(one.batch_tag_probabilities(words) for one in scorers), strict=True)
    tags: list[str] = []
    for parts in answers:
        logs = joined_log_probabilities(parts, [1.0] * len(parts))
        tags += best_tags(logs, scorers[0].labels)
    return list(spans_of(tokens, tags))


def test_a_megabyte_of_news_is_tagged_as_its_texts_are(tmp_path: Path) -> None:
    news = tagged_news(400)
    words = [words_of(text) for text, _ in news]
    tags = [list(tags_of(tokens_of(text), spans).tags) for text, spans in news]
    crf = train_crf(list(zip(words, tags, strict=True)), CrfPlan(max_iterations=40))
    plan = EncoderPlan(seconds=60, num_layers=1, width=128)
    train_scratch_tagger(words, tags, [], plan, tmp_path)
    scorers: list[TokenScorer] = [crf, load_encoder_tagger(tmp_path)]
    lines = [text for text, _ in news]
    times = -(-MEGABYTE // len("\n".join(lines).encode()))
    text = "\n".join(lines * times)
    assert len(text.encode()) >= MEGABYTE
    wanted = [Span(one.start, one.end, one.tag) for one in spans_in("\n".join(lines), scorers)]
    length = len("\n".join(lines)) + 1
    found = spans_in(text, scorers)
    assert len(wanted) > 300
    assert found == [
        Span(one.start + length * time, one.end + length * time, one.tag)
        for time in range(times)
        for one in wanted
    ]

"""What people prefer is kept apart by its prompt: taught, or held out for the gate; never both."""

from __future__ import annotations

from noria.feedback.interactions import Feedback, Interaction
from noria.improve.curate import curate, is_held_out
from noria.improve.heard import heard_of, held_out_pairs
from noria.records import content_text, record_texts

SHARE = 0.4


def asked(prompt: str, answer: str) -> Interaction:
    name = f"{prompt}-{answer}"
    return Interaction("default", name, "tiny", "0" * 64, "completion", prompt, answer, 1.0)


def said(of: Interaction, kind: str, value: str) -> tuple[Interaction, Feedback]:
    return of, Feedback("default", f"f-{of.id}", of.id, kind, value, "person", 1.0)


def test_a_pair_teaches_or_judges_as_its_prompt_says_and_thumbs_make_pairs() -> None:
    prompts = [f"question {n}" for n in range(30)]
    good, bad = ([asked(one, word) for one in prompts] for word in ("good", "bad"))
    preferred = [
        said(better, "preference", worse.id)
        for better, worse in zip(good[:20], bad[:20], strict=True)
    ]
    thumbs = [said(one, "thumb", "up") for one in good[20:]]
    thumbs += [said(one, "thumb", "down") for one in bad[20:28]]
    every = [*good, *bad]
    curated = curate([*preferred, *thumbs], SHARE, interactions=every)
    kept = {one for one in prompts if is_held_out(one, SHARE)}
    assert 5 <= len(kept) <= 25
    pairs = held_out_pairs(curated, every, SHARE)
    found = [tuple(record_texts(one) for one in both) for both in pairs]
    expected = [((one, "good"), (one, "bad")) for one in prompts[:28] if one in kept]
    assert sorted(map(repr, found)) == sorted(map(repr, expected))  # a thumb alone is no pair
    taught = heard_of(curated, every, SHARE)
    learned = {content_text(one.input) for both in taught.pairs for one in both}
    learned |= {content_text(one.answer.input) for one in taught.thumbs}
    assert learned and not learned & kept

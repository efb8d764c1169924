"""A trained encoder that tags words: tokens in, the probability of each tag of each token out.

A sequence longer than the window is read in windows that overlap, each token decided where it has
text on both sides. This module does not know how an encoder is trained, nor spans.
Legend: T tokens, N tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from noria.errors import FormatError
from noria.model.weights import load_headed_model
from noria.tasks.encoder_parts import EncoderParts, labels_for
from noria.tokenizer.bert import BertTokenizer, load_bert_tokenizer
from noria.tokenizer.word_pieces import MARGIN_PIECES, WordReader, WordRow, WordWindow


class EncoderTagger(EncoderParts[BertTokenizer]):
    """Softmax over the head's scores of the piece that speaks for a token."""

    @cached_property
    def _reader(self) -> WordReader:
        return WordReader(self.tokenizer, self.head_labels.window_tokens - 2)

    def tag_probabilities(self, tokens: Sequence[str]) -> Float64[np.ndarray, "T N"]:
        """P(tag | tokens), a row for each token; a row sums to 1."""
        return self.batch_tag_probabilities([tokens])[0]

    def batch_tag_probabilities(
        self, sequences: Sequence[Sequence[str]]
    ) -> list[Float64[np.ndarray, "T N"]]:
        """As `tag_probabilities`, of many sequences, faster than one by one."""
        parts: list[tuple[int, WordWindow, WordRow]] = [
            (number, window, row)
            for number, tokens in enumerate(sequences)
            for window, row in self._reader.rows(tokens, MARGIN_PIECES)
        ]
        marks = self.tokenizer.begin_id, self.tokenizer.end_id
        rows = [[marks[0], *row.ids.tolist(), marks[1]] for _, _, row in parts]
        found = [np.zeros((len(tokens), len(self.labels))) for tokens in sequences]
        for places, scores in self.read_rows(rows):
            probabilities = scores.softmax(dim=-1).numpy()  # (B, T, N)
            for place, of_pieces in zip(places, probabilities, strict=True):
                number, window, row = parts[place]
                kept = slice(window.kept_first - window.first, window.kept_last - window.first)
                speaking = 1 + row.places[kept]  # behind the mark of the beginning
                found[number][window.kept_first : window.kept_last] = of_pieces[speaking]
        return found


def load_encoder_tagger(folder: Path) -> EncoderTagger:
    """Read what training wrote.

    Raises InputError if a file is missing, FormatError if one is not what it should be.
    """
    model, tokenizer = load_headed_model(folder), load_bert_tokenizer(folder)
    labels = labels_for(folder, model, tokenizer, "token")
    if labels.many:
        raise FormatError(f"{folder}: many tags a word", "one", "train the tagger again")
    return EncoderTagger(model, tokenizer, labels)

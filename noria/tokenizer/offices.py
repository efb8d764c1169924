"""Which special token of a foreign tokenizer has which office: end, start, turn end, padding.

In: the special tokens, the ids that a model's files name, its chat template. Out: a Description,
and the proof that the tokenizer fits it. It does not know the files that the values came from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from noria.errors import FormatError
from noria.tokenizer.description import Description, description_json
from noria.tokenizer.formats import FORMATS
from noria.tokenizer.known_templates import recognise_template
from noria.tokenizer.load import MAX_TOKENIZER_BYTES, build_tokenizer

# What stands between documents in pretraining, where the model's own `eos` only ends a turn.
END_TEXTS = ("<|endoftext|>", "<|end_of_text|>")


@dataclass(frozen=True)
class Named:
    """What a model's files say: ids by their office, and whether `bos` stands before a text."""

    eos_id: int | None
    bos_id: int | None
    pad_id: int | None
    adds_bos: bool
    more_stops: frozenset[int] = frozenset()


def describe(specials: Mapping[int, str], pre: str, template: object, named: Named) -> Description:
    """Give every office its token.

    Raises FormatError for an unknown chat template, or where a token that is needed lacks.
    """
    known = recognise_template(template)
    style = FORMATS[known.chat_format]
    found = {text: index for index, text in specials.items()}
    missing = [text for text in style.required if text not in found]
    if missing:
        raise broken(f"chat format {style.name} without the special tokens {', '.join(missing)}")
    end_id = next((found[text] for text in END_TEXTS if text in found), named.eos_id)
    if end_id is None:
        raise broken("no token that ends a text")
    eos_id = end_id if named.eos_id is None else named.eos_id
    turn_end_id = found[style.turn_end] if style.turn_end else eos_id
    return Description(
        chat_format=style.name,
        pre=pre,
        end_id=end_id,
        eos_id=eos_id,
        bos_id=named.bos_id,
        pad_id=end_id if named.pad_id is None else named.pad_id,
        turn_end_id=turn_end_id,
        start_ids=_start_ids(known.start, end_id, named),
        stop_ids=frozenset({end_id, eos_id, turn_end_id}) | named.more_stops,
        specials=MappingProxyType(dict(specials)),
    )


def _start_ids(start: str, end_id: int, named: Named) -> tuple[int, ...]:
    if start == "end":
        return (end_id,)
    if start == "bos" and named.bos_id is None:
        raise broken("a chat template that begins with a bos token, and no such token")
    if named.bos_id is not None and (named.adds_bos or start == "bos"):
        return (named.bos_id,)
    return ()


def proved(
    value: Mapping[str, Any], description: Description, where: str
) -> tuple[str, dict[str, Any]]:
    """The text of a `tokenizer.json` and its description, after both were loaded once.

    Raises FormatError if they would not load later.
    """
    text = json.dumps(value, ensure_ascii=False)
    try:
        num_bytes = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise broken(f"{where}: a token that is no Unicode text") from error
    if num_bytes > MAX_TOKENIZER_BYTES:
        raise broken(f"{where}: {num_bytes} bytes of vocabulary")
    build_tokenizer(text, description, where)
    return text, description_json(description)


def broken(given: str) -> FormatError:
    """The error for a tokenizer that contradicts itself or its chat format."""
    return FormatError(
        given, "a whole tokenizer of a kind that Noria reads", "fetch the model again"
    )


def starting(description: Description) -> dict[str, Any] | None:
    """A post-processor: the start tokens before a text, for programs that ask for special ones."""
    if not description.start_ids:
        return None
    starts = {description.specials[one]: one for one in description.start_ids}
    first = [{"SpecialToken": {"id": text, "type_id": 0}} for text in starts]
    both = [{"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", 1))]
    return {
        "type": "TemplateProcessing",
        "single": [*first, both[0]],
        "pair": [*first, *both],
        "special_tokens": {
            text: {"id": text, "ids": [index], "tokens": [text]} for text, index in starts.items()
        },
    }

"""The chat format as a Jinja template, which is how other programs' tokenizers carry it.

In: a tokenizer's description. Out: the text that is written beside it, never executed here.
"""

from __future__ import annotations

from noria.tokenizer.description import Description
from noria.tokenizer.known_templates import known_template


def template_text(description: Description) -> str:
    """The template that renders a chat as we do, start token included.

    Raises FormatError if none is known for this format and start.
    """
    start = ""
    if description.start_ids:
        start = "bos" if description.start_ids == (description.bos_id,) else "end"
    return known_template(description.chat_format, start).text

"""The chat formats as Jinja templates, which is how Hugging Face's tokenizers carry them.

They are written for other programs and only ever compared here, never executed. Each begins with
the end token, because every sequence does in training.
"""

from __future__ import annotations

from noria.errors import FormatError

CHAT_TEMPLATES = {
    "plain": (
        "{{ '<|endoftext|>' }}{% for message in messages %}"
        "{% if message['role'] == 'assistant' %}{{ message['content'] + '<|endoftext|>' }}"
        "{% else %}{{ message['content'] + '\\n' }}{% endif %}{% endfor %}"
    ),
    "chatml": (
        "{{ '<|endoftext|>' }}{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
}


def recognise_template(template: object) -> str:
    """The chat format whose template this is. Raises FormatError for any other."""
    for chat_format, known in CHAT_TEMPLATES.items():
        if template == known:
            return chat_format
    raise FormatError(
        "a chat template that Noria does not know",
        f"exactly that of {' or '.join(CHAT_TEMPLATES)}",
        "import a model that Noria exported",
    )

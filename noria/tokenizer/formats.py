"""The chat formats: a fixed list of data, and the Jinja templates by which each is recognised.

In: a template's text. Out: the format it stands for. A template that comes with a model is only
ever compared with this list, never executed; what a format writes is built from its fields.

    plain    content \\n content <end> …                 (an assistant's turn ends with the token)
    chatml   <|im_start|>role \\n content <|im_end|> \\n …
    smollm2  chatml, with SmolLM2-Instruct's own system message where a chat begins without one
    qwen2    chatml, with Qwen2-Instruct's own system message where a chat begins without one
    llama-3  <|start_header_id|>role<|end_header_id|> \\n \\n content <|eot_id|> …
    zephyr   <|role|> \\n content <end> \\n …
"""

from __future__ import annotations

from dataclasses import dataclass

from noria.errors import FormatError

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class ChatFormat:
    """How a conversation is spelled.

    `opening` stands before a message ("{role}" is its role), `after` behind the turn's end token.
    `turn_end` is that token's text, "" where it is the model's own end-of-text token;
    `only_answers_end`: the turns of others end without it. `default_system` is the message of a
    chat that begins without one; `trims`: white space around a message is not part of it.
    """

    name: str
    opening: str
    turn_end: str
    after: str
    default_system: str | None = None
    trims: bool = False
    only_answers_end: bool = False
    required: tuple[str, ...] = ()  # special tokens without which the format can't be spelled


def _chatml(name: str, default_system: str | None = None) -> ChatFormat:
    specials = ("<|im_start|>", "<|im_end|>")
    return ChatFormat(
        name, "<|im_start|>{role}\n", "<|im_end|>", "\n", default_system, required=specials
    )


SMOLLM2_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
QWEN2_SYSTEM = "You are a helpful assistant."

FORMATS = {
    one.name: one
    for one in (
        ChatFormat("plain", "", "", "\n", only_answers_end=True),
        _chatml("chatml"),
        _chatml("smollm2", SMOLLM2_SYSTEM),
        _chatml("qwen2", QWEN2_SYSTEM),
        ChatFormat(
            "llama-3",
            "<|start_header_id|>{role}<|end_header_id|>\n\n",
            "<|eot_id|>",
            "",
            trims=True,
            required=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ),
        ChatFormat("zephyr", "<|{role}|>\n", "", "\n"),
    )
}


@dataclass(frozen=True)
class KnownTemplate:
    """A template's exact text, its format, and what it writes before the first message.

    `start` is "" (nothing), "end" (our end token) or "bos" (the tokenizer's beginning-of-sequence).
    """

    chat_format: str
    start: str
    text: str


_OUR_END = "{{ '<|endoftext|>' }}"
_ANSWER = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
_ANSWER_LINES = _ANSWER.replace("\\n", "\n")  # the same template with real line breaks
_TURN = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
_TURN_LINES = _TURN.replace("\\n", "\n")
_EACH, _DONE = "{% for message in messages %}", "{% endfor %}"
_UNASKED = (
    "{% if not add_generation_prompt is defined %}"
    "{% set add_generation_prompt = false %}{% endif %}"
)
_PLAIN_BEGIN = "{% for message in messages %}{% if message['role'] == 'assistant' %}"
_PLAIN_END = "{% else %}{{ message['content'] + '\\n' }}{% endif %}{% endfor %}"
_PLAIN = _PLAIN_BEGIN + "{{ message['content'] + eos_token }}" + _PLAIN_END


def _with_system(message: str, line_break: str) -> str:
    turn = _TURN if line_break == "\\n" else _TURN_LINES
    answer = _ANSWER if line_break == "\\n" else _ANSWER_LINES
    system = (
        "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system"
        f"{line_break}{message}<|im_end|>{line_break}' }}}}{{% endif %}}"
    )
    return _EACH + system + turn + _DONE + answer


# The first of a format and a start is the one that is written into exports.
TEMPLATES = (
    KnownTemplate(
        "plain",
        "end",
        _OUR_END + _PLAIN_BEGIN + "{{ message['content'] + '<|endoftext|>' }}" + _PLAIN_END,
    ),
    KnownTemplate("plain", "", _PLAIN),
    KnownTemplate("plain", "bos", "{{ bos_token }}" + _PLAIN),
    KnownTemplate(
        "chatml",
        "end",
        _OUR_END
        + _EACH
        + "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
        + _DONE
        + _ANSWER,
    ),
    KnownTemplate("chatml", "", _EACH + _TURN + _DONE + _ANSWER),
    KnownTemplate("chatml", "", _EACH + _TURN_LINES + _DONE + _ANSWER_LINES),
    KnownTemplate("chatml", "", _UNASKED + _EACH + _TURN + _DONE + _ANSWER),
    KnownTemplate("chatml", "", _UNASKED + _EACH + _TURN_LINES + _DONE + _ANSWER_LINES),
    KnownTemplate("chatml", "bos", "{{ bos_token }}" + _EACH + _TURN + _DONE + _ANSWER),
    KnownTemplate("smollm2", "", _with_system(SMOLLM2_SYSTEM, "\n")),
    KnownTemplate("smollm2", "", _with_system(SMOLLM2_SYSTEM, "\\n")),
    KnownTemplate("qwen2", "", _with_system(QWEN2_SYSTEM, "\n")),
    KnownTemplate("qwen2", "", _with_system(QWEN2_SYSTEM, "\\n")),
    KnownTemplate(
        "llama-3",
        "bos",
        "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
        "+ message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
        "{{ content }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    ),
    KnownTemplate(
        "zephyr",
        "",
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
        "{{ '<|user|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'system' %}\n"
        "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'assistant' %}\n"
        "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
        "{% endif %}\n{% if loop.last and add_generation_prompt %}\n"
        "{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    ),
)


def recognise_template(template: object) -> KnownTemplate:
    """The known template that this is, white space around it aside; none at all is plain text.

    Raises FormatError for any other, naming the formats that are known.
    """
    if template is None:
        return known_template("plain", "")
    text = template.strip() if isinstance(template, str) else None
    for known in TEMPLATES:
        if text == known.text:
            return known
    raise FormatError(
        "a chat template that Noria does not know",
        "exactly that of " + ", ".join(FORMATS),
        "import a model with one of these chat formats; another's template is never run",
    )


def known_template(chat_format: str, start: str) -> KnownTemplate:
    """The template that is written for a format and a start. Raises FormatError for none."""
    for known in TEMPLATES:
        if (known.chat_format, known.start) == (chat_format, start):
            return known
    raise FormatError(
        f"chat format {chat_format} after {start or 'no token'}",
        ", ".join(f"{one.chat_format} after {one.start or 'no token'}" for one in TEMPLATES),
        "a template for it is not known",
    )

"""The Jinja templates by which each chat format is recognised.

In: a template's text. Out: the format it stands for. A template that comes with a model is only
ever compared with this list, never executed.
"""

from __future__ import annotations

from dataclasses import dataclass

from noria.errors import FormatError
from noria.tokenizer.formats import ALPACA_SYSTEM, FORMATS, QWEN2_SYSTEM, SMOLLM2_SYSTEM


@dataclass(frozen=True)
class KnownTemplate:
    """A template's exact text, its format, and what it writes before the first message.

    `start` is "" (nothing), "end" (our end token) or "bos" (the tokenizer's beginning-of-sequence).
    """

    chat_format: str
    start: str
    text: str


_LINE_BREAKS = ("\\n", "\n")  # Jinja reads both alike; files have the one or the other
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


_ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception("
    "'Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)
_ONLY_TWO = "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"


def _llama_2(line_break: str) -> str:
    content = "'<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content']"
    return (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "{% set system_message = messages[0]['content'] %}{% else %}"
        "{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
        "{% for message in loop_messages %}"
        + _ALTERNATE
        + "{% if loop.index0 == 0 and system_message != false %}{% set content = "
        + content.replace("\\n", line_break)
        + " %}{% else %}{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}"
        "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    )


def _mistral(end: str) -> str:
    return (
        "{{ bos_token }}"
        + _EACH
        + _ALTERNATE
        + "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + "
        + end
        + "}}"
        + _ONLY_TWO
        + "{% endif %}{% endfor %}"
    )


def _gemma(line_break: str) -> str:
    text = (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        + _EACH
        + _ALTERNATE
        + "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
        "{% else %}{% set role = message['role'] %}{% endif %}"
        "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"
    )
    return text.replace("\\n", line_break)


def _alpaca(line_break: str) -> str:
    text = (
        "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\\n\\n' }}"
        "{% set loop_messages = messages[1:] %}{% else %}"
        "{{ '" + ALPACA_SYSTEM + "\\n\\n' }}{% set loop_messages = messages %}{% endif %}"
        "{% for message in loop_messages %}{% if message['role'] == 'user' %}"
        "{{ '### Instruction:\\n' + message['content'] + '\\n\\n' }}"
        "{% elif message['role'] == 'assistant' %}"
        "{{ '### Response:\\n' + message['content'] + eos_token + '\\n\\n' }}"
        + _ONLY_TWO
        + "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
    )
    return text.replace("\\n", line_break)


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
    *(KnownTemplate("llama-2", "bos", _llama_2(line_break)) for line_break in _LINE_BREAKS),
    KnownTemplate("mistral", "bos", _mistral("eos_token")),
    KnownTemplate("mistral", "bos", _mistral("eos_token ")),
    KnownTemplate("mistral-v0.1", "bos", _mistral("eos_token + ' ' ")),
    *(KnownTemplate("gemma", "bos", _gemma(line_break)) for line_break in _LINE_BREAKS),
    *(
        KnownTemplate("alpaca", start, bos + _alpaca(line_break))
        for start, bos in (("bos", "{{ bos_token }}"), ("", ""))
        for line_break in _LINE_BREAKS
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

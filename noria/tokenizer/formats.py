"""The chat formats: a fixed list of data.

In: nothing. Out: how each format spells a conversation; `chat` renders it, `known_templates` knows
the templates that it goes by.

    plain         content \\n content <end> …           (an assistant's turn ends with the token)
    chatml        <|im_start|>role \\n content <|im_end|> \\n …
    smollm2       chatml, with SmolLM2-Instruct's own system message where a chat has none
    qwen2         chatml, with Qwen2-Instruct's own system message where a chat has none
    llama-3       <|start_header_id|>role<|end_header_id|> \\n \\n content <|eot_id|> …
    zephyr        <|role|> \\n content <end> \\n …
    llama-2       [INST] content [/INST] content <end><bos>[INST] …
                  with <<SYS>> \\n system \\n <</SYS>> \\n \\n at the front of the first content
    mistral       [INST] content [/INST]content<end>[INST] …    (as Mistral-7B-Instruct v0.2)
    mistral-v0.1  mistral, with a space behind each <end>
    gemma         <start_of_turn>user \\n content <end_of_turn> \\n …  (the assistant is "model")
    alpaca        ### Instruction: \\n content \\n \\n ### Response: \\n content <end> \\n \\n …
                  behind the system message, or Alpaca's own where a chat has none
"""

from __future__ import annotations

from dataclasses import dataclass

from noria.tokenizer.tools import APIGEN, HERMES, ToolForm

ROLES = ("system", "user", "assistant")  # a tool's message becomes one of the user's
END, BOS = "{end}", "{bos}"  # in a format's text: the token that ends a turn, that which begins


@dataclass(frozen=True)
class Turn:
    """What stands around a message; END, BOS and texts of special tokens in it become their ids."""

    before: str
    after: str


@dataclass(frozen=True)
class ChatFormat:
    """How a conversation is spelled: each message between the two texts of its role.

    `assistant.before` is where an answer begins; the model itself writes `lead` (one character or
    none), the answer, and `assistant.after` up to END. `between` stands behind an answer that is
    not the last message. `system` is None where the format has no such message; with
    `folds_system` its texts stand around the message at the front of the first user's.
    `turn_end` is the text of the token that ends a turn, "" where it is the model's own
    end-of-text token. `default_system` is the message of a chat that begins without one; `trims`:
    white space around a message is not part of it. `order`: "free"; "system first": only the
    first message may be the system's; "alternating": after it user and assistant take turns.
    `tools`: how it spells functions and calls.
    """

    name: str
    user: Turn
    assistant: Turn
    system: Turn | None
    turn_end: str = ""
    lead: str = ""
    between: str = ""
    folds_system: bool = False
    default_system: str | None = None
    trims: bool = False
    order: str = "free"
    required: tuple[str, ...] = ()  # special tokens without which the format can't be spelled
    tools: ToolForm = HERMES

    @property
    def needs_bos(self) -> bool:
        """Whether the format writes a beginning-of-sequence token within a chat."""
        return BOS in self.between


def _headed(
    name: str,
    heading: str,
    after: str,
    turn_end: str = "",
    default_system: str | None = None,
    trims: bool = False,
    required: tuple[str, ...] = (),
    tools: ToolForm = HERMES,
) -> ChatFormat:
    """A format that treats every role alike; "{role}" in the heading is its name."""
    system, user, assistant = (Turn(heading.replace("{role}", role), after) for role in ROLES)
    return ChatFormat(
        name,
        user,
        assistant,
        system,
        turn_end=turn_end,
        default_system=default_system,
        trims=trims,
        required=required,
        tools=tools,
    )


def _chatml(name: str, default_system: str | None = None, tools: ToolForm = HERMES) -> ChatFormat:
    return _headed(
        name,
        "<|im_start|>{role}\n",
        END + "\n",
        "<|im_end|>",
        default_system,
        required=("<|im_start|>", "<|im_end|>"),
        tools=tools,
    )


def _mistral(name: str, after: str = END) -> ChatFormat:
    return ChatFormat(name, Turn("[INST] ", " [/INST]"), Turn("", after), None, order="alternating")


SMOLLM2_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
QWEN2_SYSTEM = "You are a helpful assistant."
ALPACA_SYSTEM = (  # Stanford Alpaca's, for more than one turn, as Unsloth writes it
    "Below are some instructions that describes some tasks. "
    "Write responses that appropriately completes each request."
)

FORMATS = {
    one.name: one
    for one in (
        ChatFormat("plain", Turn("", "\n"), Turn("", END), Turn("", "\n")),
        _chatml("chatml"),
        _chatml("smollm2", SMOLLM2_SYSTEM, APIGEN),
        _chatml("qwen2", QWEN2_SYSTEM),
        _headed(
            "llama-3",
            "<|start_header_id|>{role}<|end_header_id|>\n\n",
            END,
            "<|eot_id|>",
            trims=True,
            required=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ),
        _headed("zephyr", "<|{role}|>\n", END + "\n"),
        ChatFormat(
            "llama-2",
            Turn("[INST] ", " [/INST]"),
            Turn("", " " + END),
            Turn("<<SYS>>\n", "\n<</SYS>>\n\n"),
            lead=" ",
            between=BOS,
            folds_system=True,
            trims=True,
            order="alternating",
        ),
        _mistral("mistral"),
        _mistral("mistral-v0.1", END + " "),
        ChatFormat(
            "gemma",
            Turn("<start_of_turn>user\n", END + "\n"),
            Turn("<start_of_turn>model\n", END + "\n"),
            None,
            turn_end="<end_of_turn>",
            trims=True,
            order="alternating",
            required=("<start_of_turn>", "<end_of_turn>"),
        ),
        ChatFormat(
            "alpaca",
            Turn("### Instruction:\n", "\n\n"),
            Turn("### Response:\n", END + "\n\n"),
            Turn("", "\n\n"),
            default_system=ALPACA_SYSTEM,
            order="system first",
        ),
    )
}

"""YAML files of dialogues to conversations.

In: a mapping whose `conversations` is a list of dialogues, each a list of sayings in turn (the
shape of the ChatterBot corpus). Out: conversations: the user says the first, the assistant the
second, and so on; each is its own group. Needs PyYAML (the extra `data`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile, read_bytes
from noria.corpus.read.lines import find_encoding
from noria.corpus.read.quarantine import Quarantined, WrongRow, quarantined
from noria.corpus.read.reader import Found, Say
from noria.errors import InputError, MissingExtra
from noria.records import Conversation, Message, Source, text_content

MAX_NODES = 500_000  # each is an object in memory, a thousand times larger than "- a"
_EXPECTED = "conversations: a list of lists of texts"


def read_dialogues(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the dialogues of a YAML file; a last saying without an answer is left out.

    Raises MissingExtra without PyYAML, InputError for YAML that can't be read or has aliases, or
    another shape, and for empty or binary files. A wrong dialogue is quarantined.
    """
    encoding = find_encoding(file, wanted.encoding)
    try:
        text = read_bytes(file)[encoding.mark_bytes :].decode(encoding.name)
    except UnicodeError as error:
        raise InputError(f"not {encoding.name.upper()}: {error}", "text") from error
    say("conversation", f"YAML dialogues, {encoding.says()}")
    for node in _dialogue_nodes(_compose(file, text)):
        line = node.start_mark.line + 1
        try:
            yield from _conversation(file, node, line)
        except WrongRow as error:
            yield quarantined(file.name, line, error.value, error.reason)


def _conversation(file: SourceFile, node: Any, line: int) -> Iterator[Conversation | Quarantined]:
    if node.id != "sequence":
        raise WrongRow(f"a {node.id} where a dialogue stands", getattr(node, "value", ""))
    sayings = [_saying(one) for one in node.value]
    if len(sayings) % 2:
        yield quarantined(file.name, line, sayings.pop(), "the last saying has no answer")
    if sayings:
        messages = tuple(
            Message(("user", "assistant")[i % 2], text_content(saying))
            for i, saying in enumerate(sayings)
        )
        yield Conversation(messages, Source(file.name, line), group=f"{file.name}:{line}")


def _compose(file: SourceFile, text: str) -> Any:
    """The file as nodes: nothing is constructed, so no tag of the file can run anything."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra(f"PyYAML, which reads {file.name},", "data") from error
    try:
        for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            if number > MAX_NODES:
                raise _refuse(event.start_mark.line + 1, f"more than {MAX_NODES:,} nodes")
            if isinstance(event, yaml.AliasEvent):  # ten lines of them can stand for gigabytes
                raise _refuse(event.start_mark.line + 1, "an alias")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or type(error).__name__
        raise _refuse(mark.line + 1 if mark else 1, str(problem)) from error


def _dialogue_nodes(root: Any) -> Iterator[Any]:
    pairs = root.value if root is not None and root.id == "mapping" else []
    found = [value for key, value in pairs if key.value == "conversations"]
    if not found or found[0].id != "sequence":
        raise _refuse(1, "no list of conversations")
    yield from found[0].value


def _saying(node: Any) -> str:
    if node.id != "scalar":
        raise WrongRow(f"a {node.id} where a text stands in line {node.start_mark.line + 1}")
    return str(node.value)


def _refuse(line: int, what: str) -> InputError:
    return InputError(f"line {line}: {what}", _EXPECTED, "mend the file or leave it out")

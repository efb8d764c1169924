"""YAML files of dialogues to conversations.

In: a mapping whose `conversations` is a list of dialogues, each a list of sayings in turn (the
shape of the ChatterBot corpus). Out: conversations: the user says the first, the assistant the
second, and so on; each is its own group. Needs PyYAML (the extra `data`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from noria.corpus.read.files import BOM, SourceFile, decode, read_bytes
from noria.errors import InputError, MissingExtra
from noria.records import Conversation, Message, Source, text_content

_EXPECTED = "conversations: a list of lists of texts"


def read_dialogues(file: SourceFile) -> Iterator[Conversation]:
    """Yield the dialogues of a YAML file; a last saying without an answer is left out.

    Raises MissingExtra without PyYAML, InputError "file:line: …" for YAML that can't be read or has
    aliases, or another shape; and as every reader does for empty or binary files and for what is
    not UTF-8.
    """
    data = read_bytes(file)
    text = decode(file, data, len(BOM) if data.startswith(BOM) else 0, len(data))
    for node in _dialogue_nodes(file, _compose(file, text)):
        line = node.start_mark.line + 1
        sayings = [_saying(file, one) for one in node.value]
        sayings = sayings[: len(sayings) // 2 * 2]
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
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):  # ten lines of them can stand for gigabytes
                raise _refuse(file, event.start_mark.line + 1, "an alias")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or type(error).__name__
        raise _refuse(file, mark.line + 1 if mark else 1, str(problem)) from error


def _dialogue_nodes(file: SourceFile, root: Any) -> Iterator[Any]:
    pairs = root.value if root is not None and root.id == "mapping" else []
    found = [value for key, value in pairs if key.value == "conversations"]
    if not found or found[0].id != "sequence":
        raise _refuse(file, 1, "no list of conversations")
    for node in found[0].value:
        if node.id != "sequence":
            raise _refuse(file, node.start_mark.line + 1, f"a {node.id} where a dialogue stands")
        yield node


def _saying(file: SourceFile, node: Any) -> str:
    if node.id != "scalar":
        raise _refuse(file, node.start_mark.line + 1, f"a {node.id} where a text stands")
    return str(node.value)


def _refuse(file: SourceFile, line: int, what: str) -> InputError:
    return InputError(f"{file.name}:{line}: {what}", _EXPECTED, "mend the file or leave it out")

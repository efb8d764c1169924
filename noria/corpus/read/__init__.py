"""Readers: one file for each format, and the search for the files that a recipe names.

The ending of a file's name decides: documents are `.json` arrays of texts, else running text;
conversations are `.json` arrays of instructions, `.yml` or `.yaml` dialogues, else JSON Lines.
"""

from collections.abc import Iterator

from noria.corpus.read.arrays import read_instruction_array, read_text_array
from noria.corpus.read.conversations import read_chat_lines
from noria.corpus.read.dialogues import read_dialogues
from noria.corpus.read.files import SourceFile, find_files
from noria.corpus.read.tagged import read_tagged_text
from noria.corpus.read.text import read_running_text
from noria.records import Conversation, Document

__all__ = ["SourceFile", "find_files", "read_conversations", "read_documents", "read_tagged_text"]


def read_documents(file: SourceFile) -> Iterator[Document]:
    """Yield the documents of a file by the reader of its ending. Raises InputError as that does."""
    if file.name.endswith(".json"):
        return read_text_array(file)
    return read_running_text(file)


def read_conversations(file: SourceFile) -> Iterator[Conversation]:
    """Yield the conversations of a file by the reader of its ending, and raise as that does."""
    if file.name.endswith(".json"):
        return read_instruction_array(file)
    if file.name.endswith((".yml", ".yaml")):
        return read_dialogues(file)
    return read_chat_lines(file)

"""Readers: one file for each format, and the search for the files that a recipe names."""

from noria.corpus.read.conversations import read_conversations
from noria.corpus.read.files import SourceFile, find_files
from noria.corpus.read.text import read_documents

__all__ = ["SourceFile", "find_files", "read_conversations", "read_documents"]

"""Readers: one file for each format, and the search for the files that a recipe names.

A reader yields records and, where a piece of a file is none, what is wrong with it and where.
`formats` has the table of them, `columns` what makes a table's rows records.
"""

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile, find_files
from noria.corpus.read.formats import FORMATS, read_file
from noria.corpus.read.intake import Intake, Listener, Request, Said
from noria.corpus.read.quarantine import Quarantined

__all__ = [
    "FORMATS",
    "Intake",
    "Listener",
    "Quarantined",
    "Request",
    "Said",
    "SourceFile",
    "Wanted",
    "find_files",
    "read_file",
]

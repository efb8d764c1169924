"""Small texts: one a line, or one a file, with the label that the file's name or folder is.

In: text files, such as `pos.txt` with a review a line, or `sport/001.txt` with one article. Out:
labelled texts where a recipe says `labels = "@file"` (a line is a text) or `labels = "@folder"` (a
file is one); else documents, one a line.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile, plain_name, read_bytes
from noria.corpus.read.lines import Line, find_encoding, text_lines
from noria.corpus.read.quarantine import WrongRow
from noria.corpus.read.reader import Found, Say
from noria.records import Document, Labelled, Source, text_content

BY_FILE, BY_FOLDER = "@file", "@folder"


def is_place(wanted: Wanted) -> bool:
    """Whether a text's label is where it lies."""
    return wanted.columns.get("labels") in (BY_FILE, BY_FOLDER)


def read_small_texts(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the texts of a file. Raises InputError as every reader does, WrongRow for no folder."""
    encoding = find_encoding(file, wanted.encoding)
    place = PurePosixPath(file.name)
    if wanted.columns.get("labels") == BY_FOLDER:
        if not place.parent.name:
            raise WrongRow(f"{file.name} lies in no folder that could be its label", file.name)
        say("labelled", f"a text a file, its folder is the label, {encoding.says()}")
        data = read_bytes(file)
        try:
            text = data[encoding.mark_bytes :].decode(encoding.name)
        except UnicodeError as error:
            raise WrongRow(f"not {encoding.name.upper()}: {error}", file.name) from error
        source = Source(file.name, 1, 0, len(data))
        yield Labelled(text_content(text), (place.parent.name,), source, file.name)
        return
    labelled = is_place(wanted)
    label = PurePosixPath(plain_name(file)).stem
    how = f"a text a line, {'the file is the label, ' if labelled else ''}{encoding.says()}"
    say("labelled" if labelled else "document", how)
    for line in text_lines(file, encoding):
        if not isinstance(line, Line):
            yield line
            continue
        source = Source(file.name, line.number, line.start, line.end)
        group, content = f"{file.name}:{line.number}", text_content(line.text.strip())
        if labelled:
            yield Labelled(content, (label,), source, group)
        else:
            yield Document(content, source, group)

"""PDF to documents, page by page.

In: a PDF whose text is text (a scan has none, and says so). Out: documents cut as running text is,
each with its page as its line. Needs pypdf (the extra `data`): it is Python all through, so that a
malformed file can raise but not crash.
"""

from __future__ import annotations

import io
import logging
from typing import Any

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile, read_bytes
from noria.corpus.read.markup import text_documents
from noria.corpus.read.quarantine import quarantined
from noria.corpus.read.reader import Found, Say
from noria.errors import InputError, MissingExtra

MAX_PAGES = 20_000


def read_pdf(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the documents of each page; a page that can't be read, or has no text, is quarantined.

    Raises InputError for what is no PDF or is encrypted, MissingExtra without pypdf.
    """
    reader = _open(file)
    say("document", "PDF, page by page")
    for number in range(1, min(len(reader.pages), MAX_PAGES) + 1):
        try:
            text = reader.pages[number - 1].extract_text()
        except Exception as error:  # whatever a malformed page makes the parser raise
            reason = f"a page that can't be read ({type(error).__name__})"
            yield quarantined(file.name, number, str(error), reason)
            continue
        yield from text_documents(file, text, number, file.name)
    if len(reader.pages) > MAX_PAGES:
        yield quarantined(file.name, 0, "", f"pages beyond {MAX_PAGES} are left out")


def _open(file: SourceFile) -> Any:
    try:
        import pypdf
    except ImportError as error:
        raise MissingExtra(f"pypdf, which reads {file.name},", "data") from error
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of every small fault
    data = read_bytes(file)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise InputError("an encrypted PDF", "one without a password", "save it without")
        len(reader.pages)
    except InputError:
        raise
    except Exception as error:  # whatever a malformed file makes the parser raise
        raise InputError(f"no PDF ({type(error).__name__}: {str(error)[:100]})", "a PDF") from error
    return reader

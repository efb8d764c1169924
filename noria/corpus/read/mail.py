"""E-mail to documents: mbox and eml.

In: messages (RFC 5322). Out: a document, or several of a long one, a message: the subject and the
plain text, of HTML alone its main content; attachments and quoted headers are left out. Messages of
one thread (the first of References, else In-Reply-To, else their own id) are one group. A message's
line is that on which it begins. Passwords and names inside are what de-identification is for.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
from collections.abc import Iterator
from email.message import EmailMessage

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile, open_file, plain_name
from noria.corpus.read.markup import main_text
from noria.corpus.read.pieces import document_ranges
from noria.corpus.read.quarantine import Quarantined, quarantined
from noria.corpus.read.reader import Found, Say
from noria.errors import MissingExtra
from noria.records import Document, Source, text_content

MAX_MESSAGE_BYTES = 32 << 20
MAX_PARTS = 200
_LINE_BYTES = 1 << 20


def read_mail(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the documents of every message; one that has no text is quarantined."""
    name = plain_name(file)
    say("document", "one e-mail" if name.endswith(".eml") else "mailbox of e-mails")
    for line, start, raw in _messages(file, whole=name.endswith(".eml")):
        if len(raw) > MAX_MESSAGE_BYTES:
            reason = f"a message of more than {MAX_MESSAGE_BYTES >> 20} MiB"
            yield quarantined(file.name, line, raw[:200].decode("latin-1"), reason)
            continue
        yield from _documents(file, line, start, raw)


def _messages(file: SourceFile, whole: bool) -> Iterator[tuple[int, int, bytes]]:
    """Line, byte and content of each message; of one that is too large, its first bytes."""
    with open_file(file) as stream:
        number, position, line, start = 1, 0, 1, 0
        held: list[bytes] = []
        size, blank = 0, True
        while raw := stream.readline(_LINE_BYTES):
            if blank and raw.startswith(b"From ") and not whole:
                if held:
                    yield line, start, b"".join(held)
                held, size, line, start = [], 0, number, position
            elif size <= MAX_MESSAGE_BYTES:
                held.append(raw[1:] if raw.startswith(b">From ") else raw)
                size += len(raw)
            position += len(raw)
            number += raw.endswith(b"\n")
            blank = not raw.strip()
        if held:
            yield line, start, b"".join(held)


def _documents(
    file: SourceFile, line: int, start: int, raw: bytes
) -> Iterator[Document | Quarantined]:
    try:
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        text = _text(message, file.name)
        thread = _thread(message) or f"{line}"
    except MissingExtra:
        raise
    except Exception as error:  # the library has no base of its own for malformed headers
        shown = raw[:200].decode("latin-1")
        yield quarantined(file.name, line, shown, f"no e-mail ({type(error).__name__})")
        return
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
    group = f"{file.name}#{hashlib.sha256(thread.encode('utf-8', 'replace')).hexdigest()[:16]}"
    if not text.strip():
        yield quarantined(file.name, line, raw[:200].decode("latin-1"), "a message without text")
    source = Source(file.name, line, start, start + len(raw))
    for first, last in document_ranges(text):
        yield Document(text_content(text[first:last]), source, group)


def _text(message: EmailMessage, name: str) -> str:
    """Subject and body; an empty text for a message that has none."""
    parts = [part for _, part in zip(range(MAX_PARTS), message.walk(), strict=False)]
    bodies = [part for part in parts if not part.is_attachment() and not part.is_multipart()]
    plain = [_decoded(part) for part in bodies if part.get_content_type() == "text/plain"]
    if not "".join(plain).strip():
        pages = [_decoded(part) for part in bodies if part.get_content_type() == "text/html"]
        plain = [main_text(page, name) for page in pages]
    body = "\n\n".join(one for one in plain if one.strip())
    subject = " ".join(str(message.get("subject", "")).split())
    return f"{subject}\n\n{body}" if subject and body else body


def _decoded(part: EmailMessage) -> str:
    """The text of a part, in the encoding that it declares, else in one that reads every byte."""
    data = part.get_payload(decode=True)
    data = data if isinstance(data, bytes) else str(part.get_payload()).encode("utf-8", "replace")
    for name in (part.get_content_charset() or "utf-8", "utf-8", "gb18030"):
        try:
            return data.decode(name)
        except (UnicodeError, LookupError):
            continue
    return data.decode("latin-1")


def _thread(message: EmailMessage) -> str:
    for name in ("references", "in-reply-to", "message-id"):
        words = str(message.get(name, "")).split()
        if words:
            return words[0]
    return ""

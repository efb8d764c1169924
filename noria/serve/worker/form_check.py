"""Whether a form can be read at all, found out by a process that may end of it.

In: a form that a client asks for. Out: nothing, or UsageError. The library bounds what a token
costs, not what reading a form does: patterns that must all hold can take it for ever, and deep
nesting can use up the stack. So a process of its own reads each new form first, for a few seconds
at most; one at a time, and each form once.
This module knows no model.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading

from noria.generate.constrain import grammar_of, not_enforced
from noria.generate.forms import Constraint
from noria.tokenizer.load import Tokenizer

_MAX_KNOWN = 10_000
_MAX_TOLD_CHARACTERS = 300
_known: dict[bytes, str] = {}  # what is wrong with a grammar, by its SHA-256
_reading = threading.Lock()


def check_form(tokenizer: Tokenizer, constraint: Constraint) -> None:
    """Raise UsageError for a form that can't be enforced, or not be read soon."""
    grammar = grammar_of(tokenizer, constraint)
    key = hashlib.sha256(grammar.encode("utf-8", "surrogatepass")).digest()
    told = _known.get(key)
    if told is None:
        with _reading:
            told = _known.get(key)
            if told is None:
                told = _told(grammar)
                if len(_known) >= _MAX_KNOWN:
                    _known.clear()
                _known[key] = told
    if told:
        raise not_enforced(constraint, told)


def _told(grammar: str) -> str:
    """What the process that reads it says is wrong; "" if nothing is."""
    read = subprocess.run(
        # -P: no folder that this process happens to be in is looked into for modules.
        [sys.executable, "-P", "-m", "noria.serve.worker.form_reader"],
        input=grammar.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    if read.returncode:
        return "it takes too long to read, or too much memory"
    return read.stdout.decode()[:_MAX_TOLD_CHARACTERS].strip()

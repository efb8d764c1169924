"""Source code to documents: running text whose language is known by its name's ending."""

from __future__ import annotations

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile, plain_name
from noria.corpus.read.reader import Found, Say
from noria.corpus.read.text import read_running_text

LANGUAGES = {
    ".py": "Python",
    ".pyi": "Python",
    ".js": "JavaScript",
    ".mjs": "JavaScript",
    ".ts": "TypeScript",
    ".tsx": "TypeScript",
    ".jsx": "JavaScript",
    ".java": "Java",
    ".c": "C",
    ".h": "C",
    ".cc": "C++",
    ".cpp": "C++",
    ".hpp": "C++",
    ".cs": "C#",
    ".go": "Go",
    ".rs": "Rust",
    ".rb": "Ruby",
    ".php": "PHP",
    ".swift": "Swift",
    ".kt": "Kotlin",
    ".scala": "Scala",
    ".sh": "Shell",
    ".bash": "Shell",
    ".sql": "SQL",
    ".r": "R",
    ".jl": "Julia",
    ".lua": "Lua",
    ".pl": "Perl",
    ".hs": "Haskell",
    ".ml": "OCaml",
    ".css": "CSS",
    ".tex": "TeX",
    ".toml": "TOML",
    ".ini": "INI",
    ".cu": "CUDA",
}


def read_code(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the documents of a source file, as running text. Raises InputError as that does."""
    name = plain_name(file)
    language = next((known for ending, known in LANGUAGES.items() if name.endswith(ending)), "code")
    return read_running_text(file, wanted, say, f"{language} source")

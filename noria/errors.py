"""The exception tree: every error a user can meet, and the exit code it ends with.

    NoriaError                     1   something failed
    ├── UsageError                 2   the command or the recipe asks for what can't be done
    │   ├── RecipeError            2   every mistake of a recipe, together
    │   ├── MissingExtra           2   an optional part is not installed
    │   ├── UnknownName            2   a model, source, preset … that does not exist
    │   └── Held                   2   a name that is pinned or frozen does not move
    ├── InputError                 2   a file of the user is missing, empty, binary, malformed
    │   └── FormatError            2   a container (safetensors, manifest) that is not what it says
    ├── StorageError               2   no space left, no permission
    ├── PortInUse                  2   the address is taken
    ├── IntegrityError             1   stored bytes do not match their digest
    ├── TrainingError              1   the loss is not a number, nothing to train on
    └── Interrupted                1   stopped by hand; the same command goes on

Exit code 3, the gate said no, is a verdict and no error. A message says what was given, what was
expected, and what to do, on one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_GIVEN_CHARACTERS = 600  # an error stays one line that a person reads


class NoriaError(Exception):
    """Something failed; the message says what was given, what was expected and what to do."""

    exit_code = 1

    def __init__(self, given: str, expected: str = "", fix: str = "") -> None:
        if len(given) > MAX_GIVEN_CHARACTERS and "\n" not in given:
            given = given[: MAX_GIVEN_CHARACTERS - 1] + "…"
        self.given = given
        self.expected = expected
        self.fix = fix
        parts = [given]
        if expected:
            parts.append(f"expected {expected}")
        if fix:
            parts.append(fix)
        super().__init__("; ".join(parts))


class UsageError(NoriaError):
    """The command or the recipe asks for something that can't be done."""

    exit_code = 2


class MissingExtra(UsageError):
    """An optional part is not installed; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} is not installed",
            f"the extra '{extra}'",
            f"run: pip install 'noria[{extra}]'",
        )


class UnknownName(UsageError):
    """A name that does not exist; the message lists the nearest that do."""


class Held(UsageError):
    """A name of the registry is pinned or frozen, so that what is live stays live."""


class InputError(NoriaError):
    """A file of the user is missing, empty, binary or malformed."""

    exit_code = 2


class FormatError(InputError):
    """A container (safetensors, manifest, token shard) is not what it says it is."""


class StorageError(NoriaError):
    """The disk is full or may not be written; what was there before is intact."""

    exit_code = 2


class PortInUse(NoriaError):
    """The address that the server should listen on is taken."""

    exit_code = 2


class IntegrityError(NoriaError):
    """Stored bytes do not match the digest they were stored under."""


class TrainingError(NoriaError):
    """Training can't go on: the loss is not a number, or there is nothing to learn from."""


class Interrupted(NoriaError):
    """Stopped by Ctrl-C; what was done is kept, and the same command goes on from there."""


@dataclass(frozen=True)
class Problem:
    """One mistake of a recipe: where it stands, what is wrong, how to mend it."""

    file: str
    line: int
    where: str
    value: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.where} = {self.value}: {self.fix}"


class RecipeError(UsageError):
    """Every mistake of a recipe, in one error."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"the recipe has {count} mistake{'s' if count != 1 else ''}:\n{lines}")

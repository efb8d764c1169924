"""Shapes in signatures are not only written but true: every public function that takes or gives
tensors says their shapes, and keeps to them when it runs."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import noria.model

FOLDER = Path(noria.model.__file__).parent
SCRIPT = Path(__file__).with_name("drive_shapes.py")
KINDS = ("Float", "Int", "Int8", "Bool", "Shaped")


def public_functions() -> Iterator[tuple[str, ast.FunctionDef, bool]]:
    """Module and qualified name of every public function and method; whether it has a body."""
    for path in sorted(FOLDER.rglob("*.py")):
        module = ".".join(path.relative_to(FOLDER).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield f"{module}.{node.name}", node, True
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                real = not any(ast.unparse(base) == "Protocol" for base in node.bases)
                for method in node.body:
                    if not isinstance(method, ast.FunctionDef):
                        continue
                    if method.name == "__init__" or not method.name.startswith("_"):
                        yield f"{module}.{node.name}.{method.name}", method, real


def annotations(function: ast.FunctionDef) -> list[ast.expr]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    found = [one.annotation for one in every if one.annotation is not None]
    return [*found, function.returns] if function.returns is not None else found


def bare_tensors(annotation: ast.expr) -> bool:
    """Whether it names a tensor without a shape; tensors by name, in a mapping, need none."""
    if isinstance(annotation, ast.Subscript):
        name = ast.unparse(annotation.value)
        if name in KINDS or name in ("dict", "Mapping"):
            return False
    if isinstance(annotation, ast.Name):
        return annotation.id == "Tensor"
    return any(bare_tensors(one) for one in ast.iter_child_nodes(annotation))  # type: ignore[arg-type]


def shaped_tensors(annotation: ast.expr) -> bool:
    return any(
        isinstance(one, ast.Subscript) and ast.unparse(one.value) in KINDS
        for one in ast.walk(annotation)
    )


SHAPED = {
    name
    for name, function, real in public_functions()
    if real and any(map(shaped_tensors, annotations(function)))
}


def test_every_tensor_in_a_public_signature_has_a_shape() -> None:
    bare = [
        name
        for name, function, _ in public_functions()
        if any(map(bare_tensors, annotations(function)))
    ]
    assert bare == []
    assert len(SHAPED) > 50


@pytest.fixture(scope="module")
def drive() -> dict[str, list[str]]:
    """What the script called and what it found, with every signature checked at run time."""
    run = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr[-4000:]
    found: dict[str, list[str]] = json.loads(run.stdout)
    return found


def test_every_function_with_shapes_keeps_to_them(drive: dict[str, list[str]]) -> None:
    assert sorted(SHAPED - set(drive["called"])) == []


def test_wrong_shapes_are_noticed(drive: dict[str, list[str]]) -> None:
    assert drive["accepted"] == []
    assert len(drive["refused"]) >= 5

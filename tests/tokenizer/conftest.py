import json
from typing import Any

import pytest
from mixed_texts import mixed_texts

from noria.tokenizer.train import train_tokenizer


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("trained")
    texts = [" ".join(mixed_texts(200, seed=4)), "user\n assistant\n system\n\n\n  \n" * 9] * 2
    train_tokenizer(texts, 900, folder, "plain")
    value: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return value

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.errors import FormatError, UsageError
from noria.tokenizer.bytelevel import BYTE_OF_CHARACTER
from noria.tokenizer.description import description_json, our_description
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.specials import SPECIALS
from noria.tokenizer.train import train_tokenizer

ENGLISH = (
    "The keeper of the light climbed the stairs every evening, and every evening she "
    "wrote the weather into the book: wind from the west, 12 knots, rain before midnight. "
)
CHINESE = "守灯人每天傍晚登上楼梯，每天傍晚把天气写进本子里：西风，十二节，午夜前有雨。"
TEXTS = [ENGLISH * 20, CHINESE * 20, "她说：GPU的温度是72度。\n"]


SIZES = {"bpe": 480, "unigram": 480, "wordpiece": 700}


@pytest.fixture(scope="module", params=SIZES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, SIZES[request.param], out, "chatml", request.param)
    return out


@pytest.fixture(scope="module")
def kind(folder: Path) -> str:
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    return str(model["type"]).lower()


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


def test_special_tokens_have_the_ids_of_the_contract(folder: Path) -> None:
    inner = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [inner.token_to_id(token) for token in SPECIALS] == [0, 1, 2, 3]
    assert SPECIALS == ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")


def test_text_decodes_to_itself_in_both_languages_and_beyond(tokenizer: Tokenizer) -> None:
    for text in [ENGLISH, CHINESE, "𝄞 Ñandú naïve \r\n\t  x  ", "e\u0301", "", " ", "\x00\x7f"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_strings_in_text_are_never_special_ids(tokenizer: Tokenizer) -> None:
    text = "<|im_end|><|im_start|>assistant\n<|endoftext|> <|pad|>"
    ids = tokenizer.encode(text)
    assert min(ids) >= len(SPECIALS)
    assert tokenizer.decode(ids) == text


def test_training_twice_gives_the_same_bytes_even_in_another_process(
    folder: Path, kind: str, tmp_path: Path
) -> None:
    code = (
        "import json, sys; from pathlib import Path; "
        "from noria.tokenizer.train import train_tokenizer; "
        "texts, size, kind = json.loads(sys.argv[1]); "
        "train_tokenizer(texts, size, Path(sys.argv[2]), 'chatml', kind)"
    )
    asked = json.dumps([TEXTS, SIZES[kind], kind])
    command = [sys.executable, "-c", code, asked, str(tmp_path)]
    subprocess.run(command, check=True, timeout=60)
    for name in ("tokenizer.json", "tokenizer_meta.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_facts_count_exactly(tmp_path: Path) -> None:
    facts = train_tokenizer(TEXTS, 400, tmp_path, "plain")
    tokenizer = load_tokenizer(tmp_path)
    num_tokens = sum(len(tokenizer.encode(text)) for text in TEXTS)
    num_bytes = sum(len(text.encode()) for text in TEXTS)
    assert facts["vocab_size"] == tokenizer.vocab_size == 400
    assert facts["bytes_per_token"] == pytest.approx(num_bytes / num_tokens)
    assert tokenizer.chat_format == "plain"


def test_of_many_texts_every_64th_is_counted(tmp_path: Path) -> None:
    texts = [ENGLISH if number % 64 == 0 else CHINESE for number in range(64 * 64)]
    facts = train_tokenizer(texts, 400, tmp_path, "plain")
    tokenizer = load_tokenizer(tmp_path)
    assert facts["bytes_per_token"] == len(ENGLISH) / len(tokenizer.encode(ENGLISH))
    assert facts["num_bytes"] == sum(len(text.encode()) for text in texts)


def test_a_small_corpus_gives_a_smaller_vocabulary_than_asked(tmp_path: Path) -> None:
    facts = train_tokenizer(["one two, one two"], 5000, tmp_path, "plain")
    assert 260 <= facts["vocab_size"] < 300
    assert load_tokenizer(tmp_path).decode(load_tokenizer(tmp_path).encode("三 two")) == "三 two"


@pytest.mark.parametrize(
    ("texts", "vocab_size", "chat_format", "kind"),
    [
        (["text"], 299, "plain", "bpe"),
        (["text"], 555, "plain", "wordpiece"),
        (["text"], 300, "llama", "bpe"),
        (["text"], 300, "plain", "words"),
        ([], 300, "plain", "unigram"),
        ([""], 300, "plain", "bpe"),
    ],
)
def test_training_refuses_what_can_not_be(
    texts: list[str], vocab_size: int, chat_format: str, kind: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError):
        train_tokenizer(texts, vocab_size, tmp_path, chat_format, kind)


def test_no_token_mixes_han_with_other_letters(tokenizer: Tokenizer) -> None:
    for token_id in range(tokenizer.vocab_size):
        word = tokenizer.token_bytes(token_id).decode("utf-8", "ignore")
        has_han = any("\u4e00" <= c <= "\u9fff" for c in word)
        assert not (has_han and any(c.isascii() and c.isalpha() for c in word))


def test_numbers_are_cut_after_three_digits(tokenizer: Tokenizer) -> None:
    words = [tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocab_size)]
    assert not any(word.isdigit() and len(word) > 3 for word in words)


def test_token_bytes_join_to_the_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(CHINESE + ENGLISH)
    joined = b"".join(tokenizer.token_bytes(one) for one in ids)
    assert joined == (CHINESE + ENGLISH).encode()
    assert len(ids) < len(joined) / 2


def test_special_tokens_say_nothing_and_torn_characters_show(tokenizer: Tokenizer) -> None:
    torn = tokenizer.encode("\U0001f600")[:-1]
    assert tokenizer.decode([0, 1, *tokenizer.encode("a"), 2, 3]) == "a"
    assert "\ufffd" in tokenizer.decode(torn)


def test_an_unknown_id_is_refused(tokenizer: Tokenizer) -> None:
    for token_id in (-1, tokenizer.vocab_size):
        with pytest.raises(UsageError):
            tokenizer.decode([token_id])


def test_half_a_surrogate_pair_becomes_the_replacement_character(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"
    assert tokenizer.num_bytes("a\ud800b") == 5
    assert tokenizer.num_bytes("中a") == 4


def test_batches_encode_like_single_texts(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_batch(TEXTS) == [tokenizer.encode(text) for text in TEXTS]


def test_byte_alphabet_equals_that_of_the_library() -> None:
    assert set(BYTE_OF_CHARACTER) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert sorted(BYTE_OF_CHARACTER.values()) == list(range(256))


def test_transformers_reads_the_same_ids(folder: Path, tokenizer: Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    text = ENGLISH + CHINESE
    ids = tokenizer.encode(text)
    assert fast.encode(text, add_special_tokens=False) == ids
    assert fast.decode(ids, clean_up_tokenization_spaces=False) == text


def _spoil(folder: Path, tmp_path: Path, name: str, text: str | None) -> Path:
    for file in ("tokenizer.json", "tokenizer_meta.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tokenizer.json", None),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "not json"),
        ("tokenizer_meta.json", None),
        ("tokenizer_meta.json", "[]"),
        ("tokenizer_meta.json", '{"format": 2, "chat_format": "plain"}'),
        ("tokenizer_meta.json", '{"format": 3, "chat_format": "plain"}'),
        ("tokenizer_meta.json", "[" * 100_000),
        ("tokenizer_meta.json", " " * (1 << 21)),
        ("tokenizer_meta.json", '{"format": 1, "chat_format": "{{ jinja }}"}'),
        ("tokenizer_meta.json", '{"format": 1, "chat_format": "llama-3"}'),
        ("tokenizer_meta.json", '{"format": 1, "chat_format": {}}'),
    ],
)
def test_loading_refuses_what_is_no_tokenizer(
    folder: Path, tmp_path: Path, name: str, text: str | None
) -> None:
    with pytest.raises(FormatError):
        load_tokenizer(_spoil(folder, tmp_path, name, text))


def test_loading_refuses_a_tokenizer_of_another_kind(folder: Path, tmp_path: Path) -> None:
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(FormatError, match="WordLevel"):
        load_tokenizer(_spoil(folder, tmp_path, "tokenizer.json", words.to_str()))


def test_loading_refuses_a_vocabulary_without_our_special_tokens(
    folder: Path, tmp_path: Path
) -> None:
    value = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    words = value["model"]["vocab"]
    if isinstance(words, list):
        words[2][0] = "<|other|>"
    else:
        words["<|other|>"] = words.pop("<|im_end|>")
    value["added_tokens"] = []
    with pytest.raises(FormatError, match="special"):
        load_tokenizer(_spoil(folder, tmp_path, "tokenizer.json", json.dumps(value)))


@pytest.mark.parametrize("chat_format", ["plain", "chatml"])
def test_a_description_of_format_1_means_our_four_tokens(
    chat_format: str, folder: Path, tmp_path: Path
) -> None:
    old = json.dumps({"format": 1, "chat_format": chat_format}, indent=1)
    found = load_tokenizer(_spoil(folder, tmp_path, "tokenizer_meta.json", old))
    assert found.description == our_description(chat_format)
    assert (found.end_id, found.pad_id, found.start_ids) == (0, 3, (0,))
    assert found.stop_ids == ({0, 2} if chat_format == "chatml" else {0})


def test_what_training_writes_is_read_back(folder: Path, tokenizer: Tokenizer) -> None:
    stored = json.loads((folder / "tokenizer_meta.json").read_text(encoding="utf-8"))
    wanted = our_description("chatml", stored["pre"])
    assert stored == description_json(wanted)
    assert stored["format"] == 2
    assert stored["pre"] in ("noria", "noria-short")
    assert tokenizer.description == wanted


@pytest.mark.parametrize(
    "changes",
    [
        {"end_id": 9},
        {"end_id": "0"},
        {"pad_id": True},
        {"bos_id": -1},
        {"turn_end_id": None},
        {"start_ids": 0},
        {"start_ids": [400]},
        {"stop_ids": []},
        {"specials": {}},
        {"specials": {"0": "<|endoftext|>", "1": "", "2": "<|im_end|>", "3": "<|pad|>"}},
        {"specials": {"0": "<|endoftext|>", "1": "<|im_start|>", "2": "x", "3": "<|pad|>"}},
        {"specials": {"zero": "<|endoftext|>"}},
        {"specials": ["<|endoftext|>"]},
        {"chat_format": "llama-3"},
        {"chat_format": ["chatml"]},
    ],
)
def test_a_description_that_contradicts_itself_or_the_vocabulary_is_refused(
    changes: dict[str, object], folder: Path, tmp_path: Path
) -> None:
    value = description_json(our_description("chatml")) | changes
    with pytest.raises(FormatError):
        load_tokenizer(_spoil(folder, tmp_path, "tokenizer_meta.json", json.dumps(value)))


LONG = st.text(st.sampled_from("灯a‥▁é1 \n<|\U0001f600"), min_size=60, max_size=300)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(st.characters(codec="utf-8")), LONG))
def test_no_text_spells_a_special_token_and_every_text_returns(
    tokenizer: Tokenizer, text: str
) -> None:
    for mixed in (text, f"{text}<|im_end|>{text}", f"<|im_start|>{text}"):
        ids = tokenizer.encode(mixed)
        assert not set(ids) & set(tokenizer.specials)
        assert tokenizer.decode(ids) == mixed

"""Each family learns, from fresh weights and within seconds, a task whose answer is known."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noria.model.cache import KVCache
from noria.model.config import ModelConfig
from noria.model.headed import HeadedModel, build_headed_model
from noria.model.heads import HeadConfig
from noria.model.likelihood import cross_entropy_sum
from noria.model.masks import Rows
from noria.model.styles import AttentionStyle, Norm, Positions
from noria.model.transformer import Decoder, EncoderDecoder, build_decoder, build_model
from noria.train.optim import build_optimizer
from noria.train.schedule import learning_rate_at

torch.set_num_threads(1)


def fit(
    model: nn.Module,
    loss: Callable[[torch.Generator], Tensor],
    num_steps: int,
    seed: int,
    optimizer: str = "adamw",
    learning_rate: float = 5e-3,
) -> None:
    """Steps with a short warm-up and a linear fall; the loss draws its own batch."""
    generator = torch.Generator().manual_seed(1000 + seed)
    stepping = build_optimizer(model.train(), optimizer, learning_rate, 0.01)
    for step in range(num_steps):
        stepping.set_share(learning_rate_at(step, num_steps, 1.0, 0.05, 0.0, "linear"))
        loss(generator).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        stepping.step()
        stepping.zero_grad()
    model.eval()


def unseen(rows: Tensor, seen: Tensor) -> Tensor:
    """Which rows were not trained on."""
    known = set(map(tuple, seen.tolist()))
    return torch.tensor([tuple(row) not in known for row in rows.tolist()])


# Copy and reverse: a source is a tag and then symbols; the target the symbols, as the tag says.
PAD, BEGIN, END, COPY, REVERSE, FIRST_SYMBOL = range(6)
NUM_SYMBOLS, LONGEST = 10, 6


def copying_rows(num_rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sources and targets, both padded; a target ends with END."""
    lengths = torch.randint(2, LONGEST + 1, (num_rows, 1), generator=generator)
    symbols = torch.randint(NUM_SYMBOLS, (num_rows, LONGEST), generator=generator) + FIRST_SYMBOL
    places = torch.arange(LONGEST).expand(num_rows, -1)
    inside = places < lengths
    symbols = torch.where(inside, symbols, PAD)
    tags = torch.randint(COPY, REVERSE + 1, (num_rows, 1), generator=generator)
    backwards = symbols.gather(1, (lengths - 1 - places).clamp(min=0))
    wanted = torch.where(tags == COPY, symbols, torch.where(inside, backwards, PAD))
    wanted = torch.cat((wanted, torch.full((num_rows, 1), PAD)), dim=1)
    return torch.cat((tags, symbols), dim=1), wanted.scatter(1, lengths, END)


def learn_to_copy(seed: int, num_steps: int) -> tuple[EncoderDecoder, Tensor]:
    """The model, and the sources that it was trained on."""
    config = ModelConfig(
        vocab_size=FIRST_SYMBOL + NUM_SYMBOLS,
        context_tokens=LONGEST + 1,
        num_layers=2,
        num_encoder_layers=2,
        width=64,
        num_heads=4,
        num_kv_heads=4,
        ffn_width=128,
        family="encoder-decoder",
        positions=Positions(kind="learned"),
        attention=AttentionStyle(query_key_norm=True),
    )
    model = build_model(config, seed)
    assert isinstance(model, EncoderDecoder)
    drawn = []

    def loss(generator: torch.Generator) -> Tensor:
        sources, targets = copying_rows(64, generator)
        drawn.append(sources)
        begin = torch.full((64, 1), BEGIN)
        hidden = model(sources, torch.cat((begin, targets[:, :-1]), dim=1), sources != PAD)
        total, num_tokens = cross_entropy_sum(model, hidden, targets, targets != PAD)
        return total / num_tokens

    fit(model, loss, num_steps, seed)
    return model, torch.cat(drawn)


@torch.no_grad()
def greedy(model: EncoderDecoder, sources: Tensor) -> Tensor:
    """The likeliest token at each step, with a cache; what follows END is PAD."""
    memory = model.encode(sources, Rows(real=sources != PAD))
    cache = KVCache(model.config, len(sources), LONGEST + 1)
    token, ended, said = torch.full((len(sources), 1), BEGIN), sources[:, :1] < 0, []
    for _ in range(LONGEST + 1):
        hidden = model.decode(token, memory, sources != PAD, cache)
        token = torch.where(ended, PAD, model.logits(hidden).argmax(-1))
        ended = ended | (token == END)
        said.append(token)
    return torch.cat(said, dim=1)


def copying_accuracy(model: EncoderDecoder, seen: Tensor, num_rows: int) -> float:
    """How many of the sources that it has never seen it answers without a mistake."""
    sources, targets = copying_rows(num_rows, torch.Generator().manual_seed(7))
    fresh = unseen(sources, seen)
    assert fresh.sum() > num_rows / 2
    return float((greedy(model, sources[fresh]) == targets[fresh]).all(dim=1).float().mean())


def test_an_encoder_decoder_learns_to_copy_and_to_reverse() -> None:
    model, seen = learn_to_copy(seed=1, num_steps=450)
    assert copying_accuracy(model, seen, 1000) == 1.0


# Balanced brackets: 1 opens, 2 closes, 0 pads.
OPEN, CLOSE, NUM_BRACKETS = 1, 2, 20


def bracket_rows(num_rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Strings, of which half are balanced; of the others two thirds have as many opening as
    closing brackets, and half of these are one exchange away from a balanced string."""
    strings, labels = torch.zeros(num_rows, NUM_BRACKETS, dtype=torch.int64), []
    for row in range(num_rows):
        num_pairs = int(torch.randint(5, NUM_BRACKETS // 2 + 1, (), generator=generator))
        string = balanced_string(num_pairs, generator)
        if row % 2:
            string = spoiled(string, row // 2 % 3, generator)
        labels.append(is_balanced(string))
        strings[row, : len(string)] = torch.tensor(string)
    return strings, torch.tensor(labels).long()


def balanced_string(num_pairs: int, generator: torch.Generator) -> list[int]:
    """A walk that never goes below 0 and ends there."""
    string: list[int] = []
    opened = closed = 0
    for chance in torch.rand(2 * num_pairs, generator=generator).tolist():
        opens = opened == closed or (opened < num_pairs and chance < 0.5)
        string.append(OPEN if opens else CLOSE)
        opened, closed = opened + opens, closed + (not opens)
    return string


def spoiled(string: list[int], way: int, generator: torch.Generator) -> list[int]:
    """Not balanced any more: two brackets exchanged, all shuffled, or one turned around."""
    while is_balanced(string):
        order = torch.randperm(len(string), generator=generator).tolist()
        string = list(string)
        if way == 0:
            one, other = order[:2]
            string[one], string[other] = string[other], string[one]
        elif way == 1:
            string = [string[place] for place in order]
        else:
            string[order[0]] = OPEN + CLOSE - string[order[0]]
    return string


def is_balanced(string: list[int]) -> bool:
    depth = 0
    for bracket in string:
        depth += 1 if bracket == OPEN else -1
        if depth < 0:
            return False
    return depth == 0


def learn_brackets(seed: int, num_steps: int) -> tuple[HeadedModel, Tensor]:
    """The model, and the strings that it was trained on."""
    config = ModelConfig(
        vocab_size=3,
        context_tokens=NUM_BRACKETS,
        num_layers=2,
        width=64,
        num_heads=4,
        num_kv_heads=4,
        ffn_width=128,
        family="encoder",
        positions=Positions(kind="relative"),
        norm=Norm(kind="layer"),
    )
    model = build_headed_model(config, HeadConfig("sequence", num_classes=2), seed)
    strings, labels = bracket_rows(16000, torch.Generator().manual_seed(2000 + seed))

    def loss(generator: torch.Generator) -> Tensor:
        picked = torch.randint(len(strings), (64,), generator=generator)
        scores = model(strings[picked], strings[picked] != 0)
        return F.cross_entropy(scores, labels[picked])

    fit(model, loss, num_steps, seed, "muon", 1e-2)
    return model, strings


def brackets_accuracy(model: HeadedModel, seen: Tensor, num_rows: int) -> float:
    """How many strings that it has never seen it judges right, of either kind as many."""
    strings, labels = bracket_rows(num_rows, torch.Generator().manual_seed(7))
    fresh = unseen(strings, seen)
    with torch.no_grad():
        right = model(strings, strings != 0).argmax(-1) == labels
    shares = [right[fresh & (labels == label)].float() for label in (0, 1)]
    assert all(len(share) > num_rows / 8 for share in shares)
    return float((shares[0].mean() + shares[1].mean()) / 2)


def test_an_encoder_with_a_head_learns_balanced_brackets() -> None:
    model, seen = learn_brackets(seed=1, num_steps=250)
    assert brackets_accuracy(model, seen, 2000) >= 0.99


# Induction: a row of different tokens, again and again; what followed a token once follows again.
NUM_TOKENS, ROW_TOKENS = 32, 24


def repeating_rows(num_rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows, and which tokens of them can be known: those after the first period's end."""
    orders = torch.rand(num_rows, NUM_TOKENS, generator=generator).argsort(dim=1)
    periods = torch.randint(4, 11, (num_rows, 1), generator=generator)
    places = torch.arange(ROW_TOKENS + 1).expand(num_rows, -1)
    return orders.gather(1, places % periods), places[:, 1:] > periods


def learn_induction(seed: int, num_steps: int) -> Decoder:
    config = ModelConfig(
        vocab_size=NUM_TOKENS,
        context_tokens=ROW_TOKENS,
        num_layers=2,
        width=64,
        num_heads=4,
        num_kv_heads=4,
        ffn_width=128,
        positions=Positions(base=100.0),
        attention=AttentionStyle(query_key_norm=True),
    )
    model = build_decoder(config, seed)

    def loss(generator: torch.Generator) -> Tensor:
        rows, known = repeating_rows(64, generator)
        total, num_tokens = cross_entropy_sum(model, model(rows[:, :-1]), rows[:, 1:], known)
        return total / num_tokens

    # Muon finds it in 200 steps; AdamW has a third of the tokens right after 300.
    fit(model, loss, num_steps, seed, "muon", 2e-2)
    return model


def induction_accuracy(model: Decoder, num_rows: int) -> float:
    rows, known = repeating_rows(num_rows, torch.Generator().manual_seed(7))
    with torch.no_grad():
        said = model.logits(model(rows[:, :-1])).argmax(-1)
    return float((said == rows[:, 1:])[known].float().mean())


def test_a_decoder_learns_induction() -> None:
    assert induction_accuracy(learn_induction(seed=1, num_steps=200), 500) >= 0.99

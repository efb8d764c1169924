"""Run docs/transformer.md: write what its blocks print below them, and draw its pictures.

In: the document's Python. Out: both languages' outputs, and docs/pictures/*.svg in both languages.
The same weights give the same bytes; a test compares them, numbers within a tolerance.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from noria.model.positions import sinusoidal_table
from noria.model.relative import relative_buckets
from noria.model.rotary import rotary_table
from noria.model.styles import Positions
from noria.model.trace import trace

DOCS = Path(__file__).resolve().parent.parent / "docs"
DOCUMENTS = {"": DOCS / "transformer.md", ".zh": DOCS / "transformer.zh.md"}
BLOCK = re.compile(r"```python\n(.*?)```(\n\n```text\n(.*?)```)?", re.DOTALL)
STYLE = """<style>
 text { fill: #1d2b32; text-anchor: middle; dominant-baseline: central }
 .left { text-anchor: start } .right { text-anchor: end }
 .small { font-size: 12px; fill: #53646d } .tiny { font-size: 10px } .bold { font-weight: 600 }
 rect { shape-rendering: crispEdges } .box { shape-rendering: auto }
 .plus { fill: #2a7f9e } .minus { fill: #c7771a } .cell { fill: none; stroke: #b9c6cc }
 .box { fill: #eaf3f6; stroke: #2a7f9e; stroke-width: 1.5 }
 .line { fill: none; stroke: #53646d; stroke-width: 1.6 } .hand { stroke: #c7771a; stroke-width: 2 }
 .tip { fill: #53646d }
 @media (prefers-color-scheme: dark) {
  text { fill: #e8f0f3 } .small { fill: #a9bac2 } .plus { fill: #55a9c6 } .minus { fill: #e0a050 }
  .cell { stroke: #42545d } .box { fill: #14303b; stroke: #55a9c6 } .line { stroke: #a9bac2 }
  .hand { stroke: #e0a050 } .tip { fill: #a9bac2 }
 }
</style>"""
CHINESE = {
    "characters": "字符",
    "ids": "编号",
    "look-up": "查表",
    "block 1": "第 1 层",
    "block 2": "第 2 层",
    "norm": "归一化",
    "scores": "打分",
    "softmax": "softmax",
    "greedy choice": "贪心选择",
    "attention": "注意力",
    "feed-forward": "前馈层",
    "a block: two sums, each vector corrected twice": "一层：两次相加，每个向量被修正两次",
    "reads the tokens before": "读前面的词元",
    "each token by itself": "每个词元各算各的",
    "sinusoidal: added": "正弦：相加",
    "rotary: turned": "旋转：转动",
    "relative: per distance": "相对：按距离",
    "channel": "通道",
    "place": "位置",
    "pair {}": "第 {} 对",
    "key": "键",
    "query": "查询",
    "each pair turns more slowly than the one before": "每一对都比前一对转得慢",
    "number in the cell: its bucket": "格中数字：所属的桶",
    "block {}, head {}": "第 {} 层，第 {} 头",
    "causal": "因果",
    "prefix": "前缀",
    "documents": "文档",
    "window": "窗口",
    "padding": "填充",
    "row: who reads; column: who is read": "行：谁在读；列：读谁",
    "source, read by the decoder": "源句，由解码器读取",
    "target so far": "已写出的译文",
    "writes": "写出",
}
Say = Callable[[str], str]


def run_blocks(document: Path) -> tuple[list[str], dict[str, Any]]:
    """What each block of Python prints, run in order in one namespace; and that namespace."""
    namespace: dict[str, Any] = {"__name__": "document"}
    outputs = []
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):  # whatever it does to torch
        for number, match in enumerate(BLOCK.finditer(document.read_text(encoding="utf-8")), 1):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(match[1], f"{document.name}, block {number}", "exec"), namespace)
            outputs.append(printed.getvalue())
    return outputs, namespace


def filled(text: str, outputs: Sequence[str]) -> str:
    """The document with each block's output below it."""
    rest = iter(outputs)

    def one(match: re.Match[str]) -> str:
        printed = "".join(line.rstrip() + "\n" for line in next(rest).splitlines())
        return f"```python\n{match[1]}```" + (f"\n\n```text\n{printed}```" if printed else "")

    return BLOCK.sub(one, text)


class Drawing:
    """Shapes of one picture, in the order in which they are drawn."""

    def __init__(self, width: int, height: int) -> None:
        self.size = width, height
        self.parts: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        """Words, centred unless `kind` says otherwise."""
        safe = words.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{safe}</text>')

    def cell(self, x: float, y: float, width: float, height: float, value: float) -> None:
        """A rectangle as strong as the value, from -1 to 1."""
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        kind = "plus" if value >= 0 else "minus"
        self.parts.append(f'<rect {place} class="{kind}" fill-opacity="{abs(value):.2f}"/>')

    def box(self, x: float, y: float, width: float, height: float, words: str) -> None:
        """A rounded box with words in its middle."""
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self.parts.append(f'<rect {place} rx="8" class="box"/>')
        self.text(x + width / 2, y + height / 2, words)

    def path(self, steps: str, kind: str = "line") -> None:
        """A path of SVG's steps."""
        self.parts.append(f'<path d="{steps}" class="{kind}"/>')

    def arrow(self, start: float, y: float, end: float) -> None:
        """From left to right."""
        self.path(f"M{start:.1f} {y:.1f}H{end - 6:.1f}")
        self.path(f"M{end:.1f} {y:.1f}l-8 -4v8z", "tip")

    def circle(self, x: float, y: float, radius: float) -> None:
        """An empty circle."""
        place = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"'
        self.parts.append(f'<circle {place} class="cell"/>')

    def grid(
        self,
        at: tuple[float, float],
        size: tuple[float, float],
        values: Sequence[Sequence[float]],
        labels: Callable[[float], str],
    ) -> None:
        """A table of cells of one size, each with a label."""
        for row, line in enumerate(values):
            for column, value in enumerate(line):
                x, y = at[0] + column * size[0], at[1] + row * size[1]
                self.cell(x, y, *size, value)
                if label := labels(value):
                    self.text(x + size[0] / 2, y + size[1] / 2, label, "tiny")
        width, height = len(values[0]) * size[0], len(values) * size[1]
        self.path(f"M{at[0]:.1f} {at[1]:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z", "cell")

    def svg(self) -> str:
        """The picture."""
        width, height = self.size
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        lines = [head + ' font-family="system-ui, sans-serif" font-size="15">', STYLE]
        return "\n".join([*lines, *self.parts, "</svg>", ""])


def road(say: Say) -> Drawing:
    """From characters to the choice, and a block from within."""
    picture = Drawing(864, 290)
    steps = ["ids", "look-up", "block 1", "block 2", "norm", "scores", "softmax", "greedy choice"]
    shapes = ["7", "7 × 8", "7 × 8", "7 × 8", "7 × 8", "7 × 34", "7 × 34", "门 → <end>"]
    picture.text(52, 22, say("characters"), "small")
    picture.text(52, 48, "我爱北京天安门", "tiny")
    x = 106.0
    for step, shape in zip(steps, shapes, strict=True):
        width = 116.0 if step == "greedy choice" else 72.0
        picture.arrow(x - 19, 48, x)
        picture.box(x, 28, width, 40, say(step))
        picture.text(x + width / 2, 84, shape, "small")
        x += width + 19
    picture.path("M288 96L20 120M360 96L840 120", "cell")
    picture.path("M20 120H840V275H20z", "cell")
    picture.text(430, 140, say("a block: two sums, each vector corrected twice"), "small")
    for start, name, note in (
        (80.0, "attention", "reads the tokens before"),
        (450.0, "feed-forward", "each token by itself"),
    ):
        picture.arrow(start - 40, 220, start)
        picture.box(start, 200, 80, 40, say("norm"))
        picture.arrow(start + 80, 220, start + 105)
        picture.box(start + 105, 200, 130, 40, say(name))
        picture.text(start + 170, 256, say(note), "small")
        picture.arrow(start + 235, 220, start + 265)
        picture.circle(start + 277, 220, 12)
        picture.text(start + 277, 220, "+")
        picture.path(f"M{start - 25:.1f} 220V172H{start + 277:.1f}V202")
        picture.path(f"M{start + 277:.1f} 208l-4 -8h8z", "tip")
    picture.path("M369 220H415")
    picture.arrow(739, 220, 800)
    return picture


def positions(say: Say) -> Drawing:
    """Sines and cosines; pairs turned; buckets of distance."""
    picture = Drawing(860, 300)
    for middle, title in (
        (135, "sinusoidal: added"),
        (430, "rotary: turned"),
        (725, "relative: per distance"),
    ):
        picture.text(middle, 20, say(title), "bold")
    for place, line in enumerate(sinusoidal_table(32, 16).tolist()):
        for channel, value in enumerate(line):
            picture.cell(40 + channel * 12, 45 + place * 7, 12, 7, value)
    picture.text(136, 286, f"{say('channel')} 0 … 15", "small")
    picture.text(34, 49, "0", "right small")
    picture.text(34, 265, "31", "right small")
    picture.text(20, 157, say("place"), "small")
    cos, sin = rotary_table(6, 8, Positions())
    for pair in range(3):
        y = 85 + pair * 65
        name = say("pair {}").format(pair + 1)
        picture.text(300, y, name, "small")
        for place in range(6):
            x = 348 + place * 38
            turn_x, turn_y = 15 * float(cos[place, pair]), -15 * float(sin[place, pair])
            picture.circle(x, y, 15)
            picture.path(f"M{x} {y}l{turn_x:.1f} {turn_y:.1f}", "hand")
    for place in range(6):
        picture.text(348 + place * 38, 50, str(place), "small")
    picture.text(300, 50, say("place"), "small")
    picture.text(430, 286, say("each pair turns more slowly than the one before"), "small")
    style, places = Positions(kind="relative", buckets=8, distance_tokens=8), torch.arange(9)
    buckets = relative_buckets(places[None] - places[:, None], style, causal=False)
    shades = [[bucket / 10 for bucket in line] for line in buckets.tolist()]
    picture.grid((622, 60), (23, 23), shades, lambda shade: f"{shade * 10:.0f}")
    picture.text(725, 48, say("key"), "small")
    picture.text(600, 163, say("query"), "small")
    picture.text(725, 286, say("number in the cell: its bucket"), "small")
    return picture


def share(value: float) -> str:
    """A weight in two digits; nothing where it is next to none."""
    return f"{value:.2f}".lstrip("0") if 0.045 <= value < 0.995 else "1" if value > 0.5 else ""


def attention(say: Say, namespace: dict[str, Any]) -> Drawing:
    """Weights of all heads of the document's decoder over its first sentence."""
    picture = Drawing(860, 235)
    sentence = namespace["sentence"]
    for layer, heads in enumerate(trace(namespace["model"], namespace["ids"]).stack.attention):
        for head, table in enumerate(heads[0].tolist()):
            x = 32.0 + (2 * layer + head) * 212
            picture.text(x + 84, 18, say("block {}, head {}").format(layer + 1, head + 1), "bold")
            picture.grid((x, 60), (24, 24), table, share)
            for place, token in enumerate(sentence):
                picture.text(x + place * 24 + 12, 46, token, "small")
                picture.text(x - 14, 72 + place * 24, token, "small")
    return picture


def cross(say: Say, namespace: dict[str, Any]) -> Drawing:
    """Weights of cross-attention while a sentence is translated."""
    picture = Drawing(620, 285)
    source = [*namespace["unseen"], "today"]
    target, word_ids = namespace["translated"](source), namespace["word_ids"]
    traced = trace(namespace["translator"], word_ids([target[:-1]]), source_ids=word_ids([source]))
    picture.text(300, 18, say("source, read by the decoder"), "bold")
    picture.text(74, 46, say("target so far"), "small")
    picture.text(540, 46, say("writes"), "small")
    picture.grid((140, 62), (64, 34), traced.stack.cross_attention[0][0, 0].tolist(), share)
    for place, word in enumerate(source):
        picture.text(172 + place * 64, 46, word, "small")
    for place, (before, after) in enumerate(itertools.pairwise(target)):
        picture.text(130, 79 + place * 34, before, "right")
        picture.arrow(468, 79 + place * 34, 512)
        picture.text(520, 79 + place * 34, after, "left")
    return picture


def masks(say: Say, namespace: dict[str, Any]) -> Drawing:
    """Who may read whom, five times."""
    picture = Drawing(860, 205)
    for number, (name, table) in enumerate(namespace["tables"].items()):
        x = 20.0 + number * 170
        picture.text(x + 66, 18, say(name), "bold")
        picture.grid((x, 36), (22, 22), table.double().mul(0.85).tolist(), lambda _: "")
        for place in range(1, 6):
            picture.path(f"M{x:.1f} {36 + place * 22}h132M{x + place * 22:.1f} 36v132", "cell")
    picture.text(430, 188, say("row: who reads; column: who is read"), "small")
    return picture


def pictures(namespace: dict[str, Any]) -> dict[str, str]:
    """Every picture in both languages, by file name."""
    drawn = {}
    for suffix in DOCUMENTS:
        say: Say = (lambda words: CHINESE[words]) if suffix else (lambda words: words)
        drawn[f"road{suffix}.svg"] = road(say).svg()
        drawn[f"positions{suffix}.svg"] = positions(say).svg()
        drawn[f"attention{suffix}.svg"] = attention(say, namespace).svg()
        drawn[f"cross{suffix}.svg"] = cross(say, namespace).svg()
        drawn[f"masks{suffix}.svg"] = masks(say, namespace).svg()
    return drawn


def main() -> None:
    """Write outputs and pictures."""
    outputs, namespace = run_blocks(DOCUMENTS[""])
    for document in DOCUMENTS.values():
        text = document.read_text(encoding="utf-8")
        document.write_text(filled(text, outputs), encoding="utf-8")
    (DOCS / "pictures").mkdir(exist_ok=True)
    for name, picture in pictures(namespace).items():
        (DOCS / "pictures" / name).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()

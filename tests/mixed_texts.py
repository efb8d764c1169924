"""Strings of many scripts, the same each time: what tokenizers are compared on."""

from __future__ import annotations

import random
import unicodedata

ENGLISH = "The keeper's lamp wasn't lit, we'll see; I'd said THEY'RE late & re-lit it at 7pm"
CHINESE = "守灯人每天傍晚登上楼梯把天气写进本子里西风十二节午夜前有雨，。：“”！？《》（）"
OTHERS = "Größe naïve œuvre Ελλάδα Привет мир שלום مرحبا नमस्ते สวัสดี こんにちは カタカナ 한국어"
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇨🇳🇩🇪", "❤️", "1️⃣", "𝄞", "𝒳", "🀄︎"]
CODE = [
    "def f(x):\n    return x ** 2\n",
    "for (int i=0;i<10;++i) { a[i] += 0x1F; }",
    '{"k": [1, 2.5e-3, null]}',
    "SELECT * FROM t WHERE a='b' -- x",
    "https://example.com/a?b=c#d",
    "\t\tif err != nil {\r\n\t\t\treturn\r\n\t\t}",
    "$ ls -la | grep '^d'",
]
SPACES = [
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    " \n ",
    "\u00a0",
    "\u3000",
    "\u2003",
    "\u200b",
]
MARKS = "".join(map(chr, range(0x0300, 0x0370)))


def mixed_texts(count: int, seed: int = 1) -> list[str]:
    """`count` strings of up to a dozen parts: words, ideographs, emoji, marks, digits, code."""
    chance = random.Random(seed)
    return ["".join(_part(chance) for _ in range(chance.randint(1, 12))) for _ in range(count)]


def _part(chance: random.Random) -> str:
    match chance.randrange(10):
        case 0 | 1:
            return " ".join(chance.choices(ENGLISH.split(), k=chance.randint(1, 5)))
        case 2:
            return "".join(chance.choices(CHINESE, k=chance.randint(1, 8)))
        case 3:
            return chance.choice(OTHERS.split())
        case 4:
            return chance.choice(EMOJI)
        case 5:
            return chance.choice("aeiouxяあ") + "".join(
                chance.choices(MARKS, k=chance.randint(1, 3))
            )
        case 6:
            return chance.choice(["{}", " {}", "-{}", "{}.5", "{:,}"]).format(
                chance.randrange(10**6)
            )
        case 7:
            return chance.choice(CODE)
        case 8:
            return "".join(chance.choices(SPACES, k=chance.randint(1, 4)))
        case _:
            return "".join(_any_character(chance) for _ in range(chance.randint(1, 6)))


def _any_character(chance: random.Random) -> str:
    while True:
        number = chance.choice([0x100, 0x3000, 0x10000, 0x20000, 0x20000, 0x110000])
        character = chr(chance.randrange(number))
        if unicodedata.category(character) != "Cs":  # half a surrogate pair is no text
            return character

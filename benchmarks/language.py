"""How often the language of a sentence is named right, per language, and every error.

`python benchmarks/language.py [--sentences 3000]`: whole sentences of 20 and more characters of
LibreOffice's help in eight languages. Left out, and counted: sentences of a translation that are
the English ones (not translated), and formulas and code (fewer than 4 words, or `=`, `name(` …).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time

from help_pages import CACHE, sentences

from noria.corpus.language import name_language

TAGS = {
    "en-us": "en",
    "zh-cn": "zh-Hans",
    "zh-tw": "zh-Hant",
    "ja": "ja",
    "ko": "ko",
    "de": "de",
    "fr": "fr",
    "es": "es",
}
MIN_CHARACTERS = 20
_WORD = re.compile(r"[^\W\d_]+")
_CODE = re.compile(r"[=+*_{}\\<>]|\w\(")
_EAST = re.compile("[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


def is_prose(sentence: str) -> bool:
    """Whether a sentence is more than a formula, a menu path or a line of code."""
    if _EAST.search(sentence):
        return len(_EAST.findall(sentence)) >= 10
    return len(_WORD.findall(sentence)) >= 4 and not _CODE.search(sentence)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sentences", type=int, default=3000)
    wanted = parser.parse_args().sentences
    english = set(sentences("en-us", MIN_CHARACTERS))
    errors, results = [], {}
    for suffix, tag in TAGS.items():
        all_of_it = [
            s for s in sentences(suffix, MIN_CHARACTERS) if tag == "en" or s not in english
        ]
        drawn = random.Random(1).sample(all_of_it, min(wanted, len(all_of_it)))
        prose = [s for s in drawn if is_prose(s)]
        started_at = time.perf_counter()
        wrong = [(s, found) for s in prose if (found := name_language(s)) != tag]
        each_us = (time.perf_counter() - started_at) / len(prose) * 1e6
        right_of_all = sum(name_language(s) == tag for s in drawn) / len(drawn)
        results[tag] = {
            "sentences": len(prose),
            "right": round(1 - len(wrong) / len(prose), 5),
            "right_with_formulas_and_code": round(right_of_all, 5),
            "microseconds_each": round(each_us, 1),
        }
        errors += [{"language": tag, "named": found, "sentence": s} for s, found in wrong]
        print(tag, results[tag], flush=True)
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in errors)
    (CACHE.parent / "language_errors.jsonl").write_text(lines, encoding="utf-8")
    print(f"{len(errors)} errors listed in {CACHE.parent.name}/language_errors.jsonl")


if __name__ == "__main__":
    main()

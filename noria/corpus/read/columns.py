"""Which columns of a table mean what: from names and a sample of values to one of six shapes.

In: the first rows of a table, and what the recipe says of it. Out: the shape and the column of each
of its roles, as a sentence too. This module makes no records; `shapes` does.

A role has names by which tables usually call it, in English and Chinese; spaces, underscores and
capital letters do not count. Where no name is known, one column of long texts is a document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from noria.errors import InputError

MIN_LONG_CHARACTERS = 20  # mean length from which values of an unknown column are texts
MAX_DISTINCT_LABELS = 0.8  # share of the rows: what is different in nearly every row is no label
MIN_JUDGED_ROWS = 20  # fewer rows don't tell

# Role -> names, the likeliest first.
NAMES: dict[str, tuple[str, ...]] = {
    "text": (
        *("text", "content", "body", "document", "article", "passage", "paragraph", "sentence"),
        *("story", "review", "comment", "post", "abstract", "utterance", "dialogue", "markdown"),
        *("文本", "内容", "正文", "文章", "全文", "句子", "评论", "段落", "摘要"),
    ),
    "messages": (
        *("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns"),
        *("对话", "会话", "消息", "聊天"),
    ),
    "user": (
        *("instruction", "question", "prompt", "query", "user", "input", "human"),
        *("指令", "问题", "提问", "问", "用户"),
    ),
    "context": ("input", "context", "输入", "上下文", "背景"),
    "system": ("system", "systemprompt", "系统", "系统提示"),
    "history": ("history", "历史"),
    "assistant": (
        *("output", "answer", "response", "completion", "reply", "assistant", "bot", "gpt"),
        *("输出", "答案", "回答", "回复", "答", "助手"),
    ),
    "labels": (
        *("label", "labels", "category", "class", "intent", "sentiment", "topic", "stars"),
        *("标签", "类别", "分类", "情感", "意图", "主题"),
    ),
    "input": (
        *("source", "src", "input", "original", "text", "article", "document", "dialogue"),
        *("原文", "源文", "源语言", "原句", "正文"),
    ),
    "target": (
        *("target", "tgt", "translation", "translated", "summary", "highlights", "correction"),
        *("译文", "翻译", "目标", "目标语言", "摘要", "总结"),
    ),
    "tokens": ("tokens", "words", "token", "词", "字", "分词"),
    "tags": ("tags", "nertags", "ner", "postags", "labels", "标注", "标记"),
    "prompt": ("prompt", "question", "instruction", "query", "messages", "conversations", "问题"),
    "chosen": ("chosen", "preferred", "accepted", "选中", "优选"),
    "rejected": ("rejected", "dispreferred", "拒绝", "劣选"),
}
# Shape -> the roles it must have and those it may have; the first shape that fits is taken.
SHAPE_ROLES: dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "preference": ((("chosen", "rejected", "prompt"), ()),),
    "conversation": (
        (("messages",), ("system",)),
        (("assistant", "user"), ("context", "system", "history")),
    ),
    "tagged": ((("tokens", "tags"), ()),),
    "labelled": ((("labels", "text"), ()),),
    "pair": ((("target", "input"), ()),),
    "document": ((("text",), ()),),
}
_LISTS = {"messages", "tokens", "tags"}
_LANGUAGES = {
    *("en", "zh", "de", "fr", "es", "ja", "ko", "ru", "it", "pt", "ar", "nl", "pl", "tr", "vi"),
    *("zhcn", "zhtw", "zhhans", "zhhant", "enus", "engb", "dede", "frfr", "eses", "jajp", "kokr"),
    *("english", "chinese", "german", "french", "spanish", "japanese", "korean", "russian"),
    *("英文", "中文", "英语", "汉语", "德语", "法语", "日语", "韩语", "俄语", "西班牙语"),
}


@dataclass(frozen=True)
class Wanted:
    """What a recipe says of a source; empty means: find it out.

    `whole`: a document is a row of a table, or a line of a text, however long it is.
    """

    shape: str = ""
    format: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    group: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Understood:
    """The shape of a table's rows, the column of each role, and that of the group if any.

    `whole`: a row's text is one document however long it is.
    """

    shape: str
    columns: Mapping[str, str]
    group: str = ""
    whole: bool = False

    def says(self) -> str:
        """What was understood, in a few words."""
        roles = ", ".join(f"{role} from {name!r}" for role, name in self.columns.items())
        group = f", grouped by {self.group!r}" if self.group else ""
        return f"{roles}{group}"


def understand(rows: Sequence[Mapping[str, Any]], wanted: Wanted) -> Understood:
    """The shape of rows and which column means what.

    Raises InputError if the recipe names a column or role that is not there, or none is recognised.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    for role, name in wanted.columns.items():
        if name not in names:
            raise InputError(f"no column {name!r} for {role}", f"one of: {_shown(names)}")
    if wanted.group and wanted.group not in names:
        raise InputError(f"no column {wanted.group!r} to group by", f"one of: {_shown(names)}")
    for shape in [wanted.shape] if wanted.shape else SHAPE_ROLES:
        # Where the shape is said, names alone decide at last: then it is the rows that are wrong.
        for judged in (rows, []) if wanted.shape else (rows,):
            for must, may in SHAPE_ROLES[shape]:
                found = _assign(judged, names, must, may, wanted)
                if found is not None:
                    return Understood(shape, found, wanted.group, wanted.whole)
        languages = [name for name in names if _plain(name) in _LANGUAGES]
        if shape == "pair" and len(languages) == 2 and not wanted.columns:
            columns = {"input": languages[0], "target": languages[1]}
            return Understood("pair", columns, wanted.group)
    if not wanted.columns and wanted.shape in ("", "document"):
        texts = [name for name in names if _mean_characters(rows, name)]
        if len(texts) == 1 and _mean_characters(rows, texts[0]) >= MIN_LONG_CHARACTERS:
            return Understood("document", {"text": texts[0]}, wanted.group, wanted.whole)
    raise InputError(
        f"the columns {_shown(names)} are not known as {wanted.shape or 'any shape of record'}",
        "names such as text, messages, question and answer, text and label, source and target",
        'say what they are: columns = {text = "…"} under [sources.NAME]; a table without a header '
        "has columns 1, 2, …",
    )


def _assign(
    rows: Sequence[Mapping[str, Any]],
    names: list[str],
    must: tuple[str, ...],
    may: tuple[str, ...],
    wanted: Wanted,
) -> dict[str, str] | None:
    """The column of each role, the recipe's first; None if one that must be there is not."""
    roles = (*must, *may)
    if not set(wanted.columns) <= set(roles):
        return None
    found = dict(wanted.columns)
    for role in roles:
        if role in found:
            continue
        free = [name for name in names if name not in found.values() and name != wanted.group]
        name = _named(role, free, rows)
        if name is not None:
            found[role] = name
        elif role in must:
            return None
    return {role: found[role] for role in roles if role in found}


def _named(role: str, names: list[str], rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The first of these columns that has one of the role's names and values that fit."""
    by_name = {_plain(name): name for name in reversed(names)}
    for known in NAMES[role]:
        name = by_name.get(known)
        if name is not None and _fits(role, name, rows):
            return name
    return None


def _fits(role: str, name: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether most values of a column have the type that the role needs; without rows all do."""
    values = [row[name] for row in rows if row.get(name) is not None]
    if not rows:
        return True
    lists = sum(_is_list(value) for value in values)
    if role in _LISTS:
        return lists * 2 > len(values)
    if role == "labels":
        distinct = len({repr(value) for value in values})
        return len(values) < MIN_JUDGED_ROWS or distinct <= MAX_DISTINCT_LABELS * len(values)
    if role in ("prompt", "chosen", "rejected", "history"):
        return True
    return bool(values) and sum(isinstance(value, str) for value in values) * 2 > len(values)


def _is_list(value: Any) -> bool:
    """Whether a value is a list, or a text that holds one as JSON, as tables do."""
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip()[:1] == "[")


def _mean_characters(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """Mean length of the values that are texts, numbers not counted."""
    texts = [str(row[name]) for row in rows if isinstance(row.get(name), str)]
    letters = [text for text in texts if any(map(str.isalpha, text))]
    return sum(map(len, letters)) / len(rows) if 2 * len(letters) > len(rows) else 0.0


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.]+", "", name).casefold()


def _shown(names: list[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return shown + (" …" if len(names) > 12 else "")

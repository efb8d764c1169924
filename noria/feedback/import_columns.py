"""Which columns of another tool's table hold what: found out from names and values, or named.

In: a sample of rows, and what the user says of them. Out: the column of each role, or an error that
names the columns there are. Names are known in English and Chinese; spaces, underscores and capital
letters do not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noria.errors import InputError, UsageError

# Role -> names, the likeliest first. A column is used once, by the first role that knows it.
ROLE_NAMES: dict[str, tuple[str, ...]] = {
    "interaction": (
        *("interactionid", "interaction", "responseid", "completionid", "requestid", "messageid"),
        *("id", "编号"),
    ),
    "chosen": ("chosen", "preferred", "better", "winner", "选中", "优选"),
    "rejected": ("rejected", "dispreferred", "worse", "loser", "拒绝", "劣选"),
    "correction": (
        *("correction", "corrected", "correctedanswer", "expected", "expectedoutput", "gold"),
        *("ideal", "edited", "suggestion", "修改", "更正", "正确答案", "修正"),
    ),
    "prompt": (
        *("prompt", "messages", "question", "query", "instruction", "input", "request", "text"),
        *("问题", "提问", "文本", "输入", "内容"),
    ),
    "answer": (
        *("answer", "response", "output", "completion", "reply", "prediction", "predicted"),
        *("回答", "答案", "输出", "回复", "预测"),
    ),
    "label": ("label", "labels", "category", "class", "truth", "标签", "类别", "分类"),
    "thumb": (
        *("thumb", "thumbs", "vote", "rating", "score", "feedback", "liked", "like", "helpful"),
        *("评价", "评分", "赞", "点赞", "反馈"),
    ),
    "comment": (
        "comment",
        "comments",
        "note",
        "remark",
        "reason",
        "feedback",
        "评论",
        "备注",
        "意见",
    ),
    "person": (
        *("person", "user", "userid", "username", "annotator", "annotatorid", "rater", "worker"),
        *("author", "reviewer", "用户", "标注者", "标注员", "评价人"),
    ),
    "when": ("createdat", "timestamp", "time", "date", "datetime", "created", "时间", "日期"),
}
FEEDBACK_ROLES = ("thumb", "correction", "label", "comment")
_UP = {"up", "thumbsup", "thumbup", "+1", "1", "true", "yes", "like", "liked", "good", "positive"}
_UP |= {"helpful", "👍", "赞", "好", "是", "满意", "有用"}
_DOWN = {"down", "thumbsdown", "thumbdown", "-1", "0", "false", "no", "dislike", "disliked", "bad"}
_DOWN |= {"negative", "unhelpful", "nothelpful", "👎", "踩", "差", "否", "不满意", "没用"}


@dataclass(frozen=True)
class Columns:
    """The column of each role that was found, and the columns that nothing reads."""

    of_role: Mapping[str, str]
    unread: tuple[str, ...]

    def says(self) -> str:
        """What was understood, in a few words."""
        roles = ", ".join(f"{role} from {name!r}" for role, name in self.of_role.items())
        ignored = f"; not read: {_shown(self.unread)}" if self.unread else ""
        return f"{roles}{ignored}"


def understand_columns(
    rows: Sequence[Mapping[str, Any]], named: Mapping[str, str], *, labels: bool
) -> Columns:
    """Find the column of each role in a sample; `named` are the user's own, role to column.

    `labels`: rows are of an application. Raises UsageError for a role that does not exist,
    InputError for a column that does not, or rows in which no feedback, or nothing that it
    could be about, is recognised.
    """
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    for role, name in named.items():
        if role not in ROLE_NAMES:
            raise UsageError(f"a column for {role!r}", f"one of: {', '.join(ROLE_NAMES)}")
        if name not in names:
            raise InputError(f"no column {name!r} for {role}", f"one of: {_shown(names)}")
    found = dict(named)
    for role, known in ROLE_NAMES.items():
        if role in found:
            continue
        free = {_plain(name): name for name in reversed(names) if name not in found.values()}
        name = next((free[one] for one in known if one in free), "")
        if name and (role != "thumb" or _holds_thumbs(rows, name)):
            found[role] = name
    _require_understood(found, names, labels=labels)
    return Columns(found, tuple(name for name in names if name not in found.values()))


def _require_understood(found: Mapping[str, str], names: Sequence[str], *, labels: bool) -> None:
    how = "say which is which: --column thumb=NAME --column prompt=NAME …"
    pair = {"chosen", "rejected", "prompt"} <= set(found) and not labels
    if not pair and not any(role in found for role in FEEDBACK_ROLES):
        raise InputError(
            f"no feedback among the columns {_shown(names)}",
            f"a column of {', '.join(FEEDBACK_ROLES)}, or chosen and rejected beside a prompt",
            how,
        )
    if not pair and "interaction" not in found and "prompt" not in found:
        raise InputError(
            f"nothing that feedback is about among the columns {_shown(names)}",
            "the id of an interaction, or a prompt (with the answer to it)",
            how,
        )


def thumb_of(value: Any) -> str:
    """A value as up or down; "" if it is neither, as stars are."""
    if isinstance(value, bool):
        return "up" if value else "down"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    plain = re.sub(r"[\s_]+|(?<=\w)-", "", str(value)).casefold()
    return "up" if plain in _UP else "down" if plain in _DOWN else ""


def _holds_thumbs(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether most values that are there are thumbs."""
    values = [row[name] for row in rows if row.get(name) not in (None, "")]
    return sum(bool(thumb_of(value)) for value in values) * 2 > len(values)


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.]+", "", name).casefold()


def _shown(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return shown + (" …" if len(names) > 12 else "")

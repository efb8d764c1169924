"""Feedback that talks to a model or a judge instead of saying what is right.

In: a text. Out: the words in it that give an order to whoever reads it (a prompt injection, Perez &
Ribeiro 2022; Greshake et al. 2023), or the marks by which chat formats tell who speaks. English and
Chinese. The list is of forms, not of topics, and it is public: whoever reads it can write around
it. It keeps out the common case; that feedback never reaches a judge as an instruction is the
gate's to see to, and does not rest on it.
"""

from __future__ import annotations

import re
import unicodedata

_EARLIER = (
    r"(?:all|any|every|the|your|my|of|these|those|previous|prior|above|earlier|preceding|\s){0,12}"
)
_ORDERS = r"(?:instructions?|prompts?|rules?|guidelines?|directions?|commands?|context|messages?)"
_JUDGE = r"(?:judge|evaluator|grader|reviewer|rater|assessor|examiner)"
_SPANS = (
    # Forget what you were told.
    rf"(?:ignore|disregard|forget|override|bypass|skip)\s+{_EARLIER}"
    rf"(?:previous|prior|above|earlier|preceding|your|system)\s+{_EARLIER}{_ORDERS}",
    r"(?:ignore|disregard|forget)\s+(?:everything|anything|all)\s+(?:you|that\s+was|that\s+came|"
    r"above|before|said)",
    r"(?:do\s+not|don't|never)\s+(?:follow|obey)\s+(?:the|your|any|previous)\s+"
    r"(?:\w+\s+)?(?:instructions?|rules?|guidelines?)",
    r"(?:new|updated|real|hidden)\s+(?:system\s+)?(?:instructions?|prompt)\s*:",
    r"(?:reveal|print|repeat|show|output)\s+(?:me\s+)?(?:your|the)\s+(?:system|hidden|initial)\s+"
    r"(?:prompt|instructions?)",
    # Be somebody else from now on.
    r"from\s+now\s+on,?\s+(?:you\s+(?:are|must|act|answer|respond)|always|answer|respond|reply)\b",
    r"you\s+are\s+(?:now|no\s+longer)\s+(?:bound|dan\b|an?\s+(?:\w+\s+){0,3}(?:ai|assistant|model|"
    r"bot)\b)",
    r"you\s+(?:must|should|will|have\s+to)\s+(?:always\s+|only\s+)?(?:(?:output|classify|label|"
    r"predict)\b|(?:answer|respond|reply|say)\s+(?:with|only)\b)",
    r"(?:always|only|just)\s+(?:answer|respond|reply|output|classify|label|predict)\s+"
    r"(?:with|as|in)\b",
    r"(?:act|behave|respond)\s+as\s+(?:if\s+you|though\s+you|an?\s+(?:ai|unrestricted|jailbroken))",
    r"(?:enable|enter|activate)\s+(?:developer|dan|god|jailbreak|admin)\s+mode",
    # Judge me well.
    rf"(?:dear|attention|note\s+to(?:\s+the)?|as\s+(?:a|an|the)|to\s+the)\s+(?:\w+\s+)?{_JUDGE}s?\b"
    r"\s*[,:]",
    r"(?:rate|score|grade|judge|mark|rank)\s+(?:this|it|the|my)\s+(?:\w+\s+)?(?:answer|response|"
    r"output|reply|text|submission|one)?\s*(?:as|with|at)?\s*(?:a\s+)?(?:the\s+)?(?:highest|best|"
    r"perfect|correct|10\b|5\s*/\s*5|100\b|full\s+marks)",
    r"(?:give|award|assign)\s+(?:this|it|me|the)\s+(?:\w+\s+){0,2}(?:the\s+)?(?:highest|full|"
    r"maximum|perfect|top)\s+(?:possible\s+)?(?:score|marks?|rating|grade|points?)",
    r"(?:choose|pick|prefer|select)\s+(?:this|my|answer|response|option)\s+(?:answer|response|[ab1-2]\b)"
    r"[^.]{0,40}(?:regardless|no\s+matter|always|whatever)",
    # The same in Chinese.
    r"(?:忽略|无视|忘记|忘掉|不要理会|不要遵守|不要遵循|跳过|覆盖)(?:掉)?(?:你)?(?:以上|之前|前面|上面|先前|此前|所有|"
    r"一切|全部|系统|原来|任何|上述|的|你|我|这些|那些){0,8}(?:指令|指示|提示|提示词|规则|说明|要求|设定|命令|约束|内容)",
    r"(?:从现在开始|从现在起|从今以后)[,，]?(?:你|请|一律|总是|必须)",
    r"你(?:现在|如今)(?:不再)?(?:是|扮演)[^,，。！？\n]{0,10}(?:模型|助手|ai|人工智能|机器人|dan)",
    r"(?:你|模型|系统)(?:必须|应该|应当|一定要|要)?(?:只能|一律|始终|只)(?:回答|回复|输出)",
    r"(?:必须|应该|应当|一定要|只能|一律|始终|总是|永远)(?:回答|回复|输出)(?:为|成|[:：“\"'「])",
    r"(?:必须|应该|应当|一定要|只能|一律|始终|总是|永远)(?:判为|判断为|分类为|标为|标记为|归类为)",
    r"(?:作为|尊敬的|亲爱的|致)(?:一个|一名|各位)?(?:评委|评审|裁判|评分员|评估者|评测员|打分)",
    r"(?:请|务必|一定要)(?:给|打|评)(?:我|出|上|这个|该|本|个|以|回答|答案|回复|打|评){0,6}(?:满分|最高分|最高评分|10\s*分|100\s*分|五星)",
    r"给(?:我|这个|这条|该|本)(?:的)?(?:回答|答案|回复)(?:打|评|以|个|一个|上){0,3}(?:满分|最高分|最高评分|10\s*分|100\s*分|五星)",
    r"(?:输出|显示|告诉我|重复|泄露)(?:你的)?(?:系统提示|系统提示词|初始指令|隐藏指令)",
    r"(?:进入|开启|启用|激活)(?:开发者|越狱|上帝|管理员|dan)模式",
    # Marks of chat formats: who writes them puts words into another's mouth.
    r"<\|?(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id|begin_of_text)"
    r"\|?>",
    r"\[/?inst\]|<</?sys>>|<start_of_turn>|<end_of_turn>",
    r"(?:^|\n)[ \t]*(?:#{1,6}[ \t]*)?(?:system\s*(?:prompt|message)\s*:|assistant\s*:|"
    r"system\s*:\s*(?:you|your|always|never)\b)",
    r"(?:^|\n)[ \t]*#{1,6}[ \t]*(?:system|instruction|new instructions?|系统|指令)"
    r"[ \t]*[:：]?[ \t]*(?:\n|$)",
)
_PATTERN = re.compile("|".join(f"(?:{one})" for one in _SPANS))
_INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]"
)
MAX_SHOWN_CHARACTERS = 60


def instruction_in(text: str) -> str:
    """The words of a text that give an order to a model or judge; "" if there are none.

    Full-width and other compatibility forms, capital letters and invisible characters do not hide
    one. What is returned is for a person to read, and is cut to 60 characters.
    """
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    found = _PATTERN.search(plain)
    return " ".join(found[0].split())[:MAX_SHOWN_CHARACTERS] if found else ""

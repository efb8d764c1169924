"""Names of people and organisations in Chinese text: a tagger, and rules around it.

In: a text and the words that the tagger made of it. Out: where names stand. Rules find what the
tagger cuts wrong: a surname before a form of address, what stands behind 我叫 or 联系人, and
organisations by their last characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from noria.corpus.identities import Span

KINDS = {"PER": "PERSON", "ORG": "ORGANIZATION"}
SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢"
    "姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤常温康施"
    "文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷"
    "盛曲翁冉骆蓝路游辛靳管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷"
    "晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝"
)
_COMPOUND = (
    "欧阳|上官|司马|诸葛|夏侯|尉迟|皇甫|公孙|慕容|令狐|宇文|长孙|司徒|端木|东方|"
    "独孤|南宫|闻人|澹台|呼延"
)
_SURNAME = f"(?:{_COMPOUND}|[{SURNAMES}])"
_HAN = "[\u4e00-\u9fff]"
_PIECE = re.compile("[^。！？；\n]{1,400}[。！？；\n]?|[。！？；\n]")
_FORMS = (
    "先生|女士|小姐|太太|经理|老师|医生|大夫|同志|主任|同学|师傅|教授|律师|博士|总监|阿姨|叔叔"
    "|董事长|局长|校长|院长|工程师"
)
_ADDRESSED = re.compile(rf"(?P<name>{_SURNAME}{_HAN}{{0,2}}?)(?={_FORMS})")
_LABELS = (
    "我叫|名叫|叫做|姓名|联系人|收件人|收货人|户主|申请人|负责人|患者|客户|车主|署名|名字是|名字叫"
)
_INTRODUCED = re.compile(
    rf"(?:{_LABELS})[是为:：\s]{{0,2}}(?P<name>{_SURNAME}{_HAN}{{1,2}})(?!{_HAN}?(?:公司|集团))"
)
_THEIRS = "电话|手机|邮箱|地址|身份证|护照"
_NAMED_FIRST = re.compile(
    rf"(?P<name>{_SURNAME}{_HAN}{{1,2}}?)(?=(?:说|表示|告诉|认为|的(?:{_THEIRS})))"
)
_FIRM_ENDS = (
    "股份有限公司|有限责任公司|有限公司|公司|集团|银行|大学|学院|医院|研究所|研究院|事务所|出版社"
    "|协会|基金会|中学|小学|幼儿园"
)
_FIRM = re.compile(rf"{_HAN}{{2,14}}?(?:{_FIRM_ENDS})(?:{_HAN}{{2,4}}分行)?")
_FIRM_START = re.compile(
    r"^.*(?:在|到|是|从|向|由|与|和|的|于|为|给|对|了|叫|被|把|让|去|来自|加入|就职|任职|供职|联系"
    r"|及)(?=.{3})"
)
_COMMON_FIRMS = re.compile(
    r"^(?:[本该我贵各这那此某两几一]|我们|他们|这家|那家|一家|上市|分|子|母|总|大|小|全|外|新|老|每)+"
)


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """The ranges that the tagger reads one by one: sentences with Chinese in them."""
    for match in _PIECE.finditer(text):
        if re.search(_HAN, match[0]):
            yield match.span()


def tagged(text: str, words: Sequence[Span]) -> Iterator[Span]:
    """People and organisations of the tagger's names; two of one kind that touch are one."""
    last: Span | None = None
    for word in words:
        if not re.search(_HAN, text[word.start : word.end]):
            continue
        written = text[word.start : word.end]
        start = word.end - len(written.lstrip())
        end = word.start + len(written.rstrip())
        if last and last.end == start and last.kind == KINDS[word.kind]:
            last = Span(last.start, end, last.kind)
            continue
        if last:
            yield last
        last = Span(start, end, KINDS[word.kind])
    if last:
        yield last


def rules(text: str) -> Iterator[Span]:
    """Names by what stands around them."""
    for pattern in (_ADDRESSED, _INTRODUCED, _NAMED_FIRST):
        for match in pattern.finditer(text):
            yield Span(*match.span("name"), "PERSON")
    for match in _FIRM.finditer(text):
        start = match.start()
        begun = _FIRM_START.match(match[0])
        if begun:
            start += begun.end()
        if match.end() - start > 3 and not _COMMON_FIRMS.match(text[start : match.end()]):
            yield Span(start, match.end(), "ORGANIZATION")


def again(text: str, found: Sequence[Span]) -> Iterator[Span]:
    """Names of three characters and more wherever they return."""
    names = {text[one.start : one.end]: one.kind for one in found if one.end - one.start > 2}
    if names:
        alternatives = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
        for match in re.finditer(alternatives, text):
            yield Span(*match.span(), names[match[0]])

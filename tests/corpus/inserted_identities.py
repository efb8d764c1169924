"""Identities of every form, made from a seed: valid check digits, many spellings, two languages.

In: a random number generator. Out: a kind of identity, and a value as somebody might write it.
No value is anybody's on purpose; where ranges are kept for examples they are not used, for a
detector may know them.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

Make = Callable[[random.Random], str]

_WIDE = {ord(c): ord(c) + 0xFEE0 for c in string.digits + string.ascii_letters + "@.-+"}


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def _token(rng: random.Random, count: int) -> str:
    return "7" + "".join(rng.choices(string.ascii_letters + string.digits, k=count - 1))


def _word(rng: random.Random, low: int = 3, high: int = 9) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(low, high)))


def _wide(rng: random.Random, text: str, share: float = 0.1) -> str:
    return text.translate(_WIDE) if rng.random() < share else text


def luhn_digit(digits: str) -> str:
    """The digit that makes a card's number right."""
    doubled = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(digits))]
    return str(-sum(v - 9 if v > 9 else v for v in doubled) % 10)


def email(rng: random.Random) -> str:
    """Plain, tagged, obfuscated and full-width addresses."""
    separator = rng.choice([".", "_", "", "-", "+"])
    user = f"{_word(rng)}{separator}{_word(rng)}{rng.choice(['', _digits(rng, 2)])}"
    endings = ["com", "net", "org", "de", "co.uk", "com.cn", "cn", "edu", "io", "fr"]
    host, ending = f"{_word(rng, 4, 10)}", rng.choice(endings)
    dotted = ending.replace(".", " dot ")
    return rng.choice(
        [
            *[_wide(rng, f"{user}@{host}.{ending}")] * 6,
            f"{user}@mail.{host}.{ending}",
            f"{user.upper()}@{host.upper()}.{ending.upper()}",
            f"{user} (at) {host} (dot) {ending.split('.')[0]}",
            f"{user}[at]{host}.{ending}",
            f"{user} at {host} dot {dotted}",
            f"{user} AT {host} DOT {ending.split('.')[0]}",
            f"{user}#{host}.{ending}",
            f"{user} @ {host}.{ending}",
        ]
    )


def phone_en(rng: random.Random) -> str:
    """North America, Britain, Germany, France, and the international form of others."""
    area, middle = f"{rng.randint(2, 9)}{_digits(rng, 2)}", f"{rng.randint(2, 9)}{_digits(rng, 2)}"
    last = f"{_digits(rng, 3)}{rng.randint(1, 9)}"
    number = rng.choice(
        [
            f"({area}) {middle}-{last}",
            f"{area}-{middle}-{last}",
            f"{area}.{middle}.{last}",
            f"{area} {middle} {last}",
            f"+1 {area} {middle} {last}",
            f"+1-{area}-{middle}-{last}",
            f"+1{area}{middle}{last}",
            f"1-{area}-{middle}-{last}",
            f"({area}) {middle}-{last} ext. {_digits(rng, 3)}",
            f"+44 20 {_digits(rng, 4)} {last}",
            f"+44 (0)20 {_digits(rng, 4)} {last}",
            f"020 7{_digits(rng, 3)} {last}",
            f"07{_digits(rng, 3)} {_digits(rng, 3)}{middle}",
            f"+49 {rng.choice(['30', '89', '170'])} {middle}{last}",
            f"0{rng.choice(['30', '89', '40'])}/{middle}{last}",
            f"0{rng.choice(['171', '160'])} {middle}{last}",
            "06 " + " ".join(_digits(rng, 2) for _ in range(3)) + f" {last[2:]}",
            f"+33 6 {' '.join(_digits(rng, 2) for _ in range(3))} {last[2:]}",
            f"0049 {rng.choice(['30', '89'])} {middle}{last}",
            f"+{rng.choice(['61', '91', '39', '34', '81'])} {area} {middle} {last}",
        ]
    )
    return _wide(rng, number, 0.05)


def phone_zh(rng: random.Random) -> str:
    """Mobile numbers, landlines and service numbers of China."""
    head = f"1{rng.choice('3456789')}{_digits(rng, 1)}"
    a, b = _digits(rng, 4), f"{_digits(rng, 3)}{rng.randint(1, 9)}"
    city = rng.choice(["10", "21", "755", "571", "28", "532"])
    local = f"{rng.randint(2, 8)}{_digits(rng, 6 if len(city) == 3 else 7)}"
    number = rng.choice(
        [
            *[f"{head}{a}{b}"] * 5,
            f"{head} {a} {b}",
            f"{head}-{a}-{b}",
            f"+86 {head}{a}{b}",
            f"+86{head}{a}{b}",
            f"+86-{head}-{a}-{b}",
            f"(+86) {head}{a}{b}",
            f"0086 {head}{a}{b}",
            f"86-{head}{a}{b}",
            f"0{city}-{local}",
            f"0{city} {local}",
            f"(0{city}){local}",
            f"0{city}-{local}-{_digits(rng, 3)}",
            f"0{city}-{local}转{_digits(rng, 3)}",
            f"+86 {city} {local}",
            f"400-{_digits(rng, 3)}-{_digits(rng, 3)}9",
            f"400{_digits(rng, 6)}9",
        ]
    )
    return _wide(rng, number)


def iban(rng: random.Random) -> str:
    """Of five countries, in groups of four or in one piece."""
    country, form = rng.choice(
        [("DE", "9" * 18), ("GB", "AAAA" + "9" * 14), ("FR", "9" * 23), ("ES", "9" * 20),
         ("NL", "AAAA" + "9" * 10), ("CH", "9" * 17)]
    )  # fmt: skip
    account = "".join(
        rng.choice(string.ascii_uppercase) if c == "A" else rng.choice(string.digits) for c in form
    )
    rest = int("".join(str(int(c, 36)) for c in f"{account}{country}00")) % 97
    whole = f"{country}{98 - rest:02d}{account}"
    grouped = " ".join(whole[i : i + 4] for i in range(0, len(whole), 4))
    return rng.choice([whole, grouped, grouped.replace(" ", "-"), whole.lower()])


def card(rng: random.Random) -> str:
    """Payment cards of the large schemes; Chinese bank cards with sixteen and nineteen digits."""
    head, length = rng.choice(
        [("4", 16), ("51", 16), ("2221", 16), ("6011", 16), ("37", 15), ("3530", 16),
         ("622202", 16), ("621226", 19), ("622848", 19), ("4", 13), ("3016", 14)]
    )  # fmt: skip
    body = head + _digits(rng, length - 1 - len(head))
    whole = body + luhn_digit(body)
    if length == 16 and rng.random() < 0.6:
        return rng.choice(" -").join(whole[i : i + 4] for i in range(0, 16, 4))
    if length == 15 and rng.random() < 0.6:
        return f"{whole[:4]} {whole[4:10]} {whole[10:]}"
    if length == 19 and rng.random() < 0.5:
        return rng.choice([" ".join(whole[i : i + 4] for i in range(0, 19, 4)),
                           f"{whole[:6]} {whole[6:]}"])  # fmt: skip
    return _wide(rng, whole, 0.05)


def resident_id(rng: random.Random) -> str:
    """A Chinese identity number: region, birthday, order, check digit."""
    region = f"{rng.choice([11, 31, 44, 51, 33, 37, 61])}{rng.randint(1, 12):02d}{_digits(rng, 2)}"
    born = f"{rng.randint(1940, 2019)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    body = region + born + _digits(rng, 3)
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    check = "10X98765432"[sum(w * int(d) for w, d in zip(weights, body, strict=True)) % 11]
    whole = body + rng.choice([check, check.lower()])
    spelled = [whole] * 6 + [f"{whole[:6]} {whole[6:14]} {whole[14:]}"]
    return _wide(rng, rng.choice([*spelled, f"{whole[:6]}-{whole[6:14]}-{whole[14:]}"]))


def ssn(rng: random.Random) -> str:
    """A social security number of the United States."""
    area = rng.choice([n for n in range(1, 899) if n != 666])
    return f"{area:03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}"


def passport_en(rng: random.Random) -> str:
    """Of the United States, Britain, Germany, France and Canada, named as one."""
    return rng.choice(
        [_digits(rng, 9), f"A{_digits(rng, 8)}", f"C01X{_digits(rng, 2)}T47", f"C{_digits(rng, 8)}",
         f"{_digits(rng, 2)}AB{_digits(rng, 5)}", f"GA{_digits(rng, 6)}", f"L{_digits(rng, 7)}"]
    )  # fmt: skip


def passport_zh(rng: random.Random) -> str:
    """Chinese passports and travel permits."""
    letter = rng.choice("ABCDFGHJKLMN")
    return rng.choice(
        [f"E{_digits(rng, 8)}", f"G{_digits(rng, 8)}", f"E{letter}{_digits(rng, 7)}",
         f"H{_digits(rng, 8)}"]
    )  # fmt: skip


def plate_zh(rng: random.Random) -> str:
    """Vehicles of China: five signs, six for electric ones, offices and learners."""
    where = rng.choice("京沪粤苏浙川鲁豫渝津湘鄂") + rng.choice("ABCDEFGH")
    signs = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
    five = "".join(rng.choices(signs, k=4)) + rng.choice(string.digits)
    six = rng.choice("DF") + _digits(rng, 5)
    gap = rng.choice(["", "", "·", " "])
    return rng.choice([f"{where}{gap}{five}"] * 3 + [f"{where}{gap}{six}",
                       f"{where}{gap}{_digits(rng, 4)}{rng.choice('警学挂')}"])  # fmt: skip


def plate_en(rng: random.Random) -> str:
    """Britain, France, Germany, California and New York, named as one."""
    letters = lambda count: "".join(rng.choices("ABCDEFGHJKLMNPRSTUVWXY", k=count))  # noqa: E731
    return rng.choice(
        [
            f"{letters(2)}{_digits(rng, 2)} {letters(3)}",
            f"{letters(2)}-{_digits(rng, 3)}-{letters(2)}",
            f"{rng.choice(['B', 'M', 'HH', 'KA'])}-{letters(2)} {rng.randint(1, 9999)}",
            f"{rng.randint(1, 9)}{letters(3)}{_digits(rng, 3)}",
            f"{letters(3)}-{_digits(rng, 4)}",
            f"{letters(3)} {_digits(rng, 4)}",
        ]
    )


def ip_address(rng: random.Random) -> str:
    """IPv4 and IPv6, whole and shortened."""
    four = ".".join(str(rng.choice([*range(1, 127), *range(128, 224)])) for _ in range(4))
    groups = [f"{rng.randint(1, 65535):x}" for _ in range(8)]
    six = ":".join(groups)
    short = f"2001:{':'.join(groups[:2])}::{groups[3]}:{groups[4]}"
    return rng.choice([four, four, _wide(rng, four), six, short, f"fe80::{':'.join(groups[:4])}"])


def api_key(rng: random.Random) -> str:
    """Keys and tokens of well-known services."""
    part = lambda: base64.urlsafe_b64encode(rng.randbytes(24)).decode()  # noqa: E731
    return rng.choice(
        [
            f"sk-{_token(rng, 48)}",
            f"sk-proj-{_token(rng, 40)}",
            f"sk-ant-api03-{_token(rng, 60)}",
            f"ghp_{_token(rng, 36)}",
            f"github_pat_{_token(rng, 50)}",
            f"glpat-{_token(rng, 20)}",
            f"AKIA7{''.join(rng.choices(string.ascii_uppercase + string.digits, k=15))}",
            f"AIza{_token(rng, 35)}",
            f"xoxb-{_digits(rng, 12)}-{_token(rng, 24)}",
            f"hf_{_token(rng, 34)}",
            f"sk_live_{_token(rng, 24)}",
            f"LTAI{_token(rng, 20)}",
            f"eyJhbGciOiJIUzI1NiJ9.eyJ{part()}.{part()}",
            f"SG.{_token(rng, 22)}.{_token(rng, 43)}",
        ]
    )


def credentials(rng: random.Random) -> str:
    """What stands before the @ of a connection's address."""
    return f"{_word(rng)}:{_token(rng, 10)}"


def private_key(rng: random.Random) -> str:
    """A PEM block."""
    name = rng.choice(["RSA ", "EC ", "OPENSSH ", ""])
    body = "\n".join(base64.b64encode(rng.randbytes(48)).decode() for _ in range(3))
    return f"-----BEGIN {name}PRIVATE KEY-----\n{body}\n-----END {name}PRIVATE KEY-----"


# Kind -> how a value is made, and sentences that carry it. {} is the value. The plain "{}" is put
# between two words of real text, with nothing that says what it is.
STRUCTURED_EN: dict[str, tuple[Make, tuple[str, ...]]] = {
    "EMAIL": (email, ("Write to {} before Friday.", "{}", "My address ({}) has changed.")),
    "PHONE": (phone_en, ("Call me at {} tonight.", "{}", "Phone: {}", "It rang from {}, twice.")),
    "IBAN": (iban, ("Please pay to {}.", "{}", "IBAN: {}")),
    "CARD": (card, ("The card {} was refused.", "{}", "Card number: {}.")),
    "SSN": (ssn, ("My SSN is {}.", "{}", "Social security number {}.")),
    "ID_NUMBER": (resident_id, ("His identity number is {}.", "{}")),
    "PASSPORT": (
        passport_en,
        ("My passport number is {}.", "Passport: {}", "She travels on passport no. {}, valid."),
    ),
    "PLATE": (
        plate_en,
        ("The licence plate is {}.", "License plate {} was seen.", "a car with number plate {}"),
    ),
    "IP_ADDRESS": (ip_address, ("The request came from {}.", "{}", "host {} does not answer")),
    "API_KEY": (api_key, ("The key is {}.", "{}", "export TOKEN={}")),
    "CREDENTIALS": (
        credentials,
        ("postgres://{}@db.internal:5432/shop", "see https://{}@git.internal/a.git"),
    ),
    "PRIVATE_KEY": (private_key, ("{}", "This was in the file:\n{}\n")),
}
STRUCTURED_ZH: dict[str, tuple[Make, tuple[str, ...]]] = {
    "EMAIL": (email, ("请把材料发到{}。", "{}", "邮箱：{}，谢谢")),
    "PHONE": (phone_zh, ("请打{}联系我。", "{}", "电话：{}", "我的手机号是{}，微信同号")),
    "IBAN": (iban, ("请汇款到 {} 这个账户。", "IBAN：{}")),
    "CARD": (card, ("银行卡号{}，请查收。", "{}", "我的信用卡是{}")),
    "ID_NUMBER": (resident_id, ("身份证号：{}。", "{}", "他的身份证是{}，请核对")),
    "PASSPORT": (passport_zh, ("护照号码：{}。", "{}", "我的护照是{}，明年到期")),
    "PLATE": (plate_zh, ("车牌号{}的车主请挪车。", "{}", "一辆{}停在门口")),
    "IP_ADDRESS": (ip_address, ("服务器地址是{}。", "{}", "来自{}的访问")),
    "API_KEY": (api_key, ("密钥是{}。", "{}", "令牌：{}")),
    "CREDENTIALS": (credentials, ("数据库 mysql://{}@db.internal/shop 连不上",)),
}

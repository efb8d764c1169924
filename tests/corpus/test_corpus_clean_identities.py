import sys
import time

import pytest

from noria.corpus.checkdigits import iban_holds, luhn_holds, resident_id_holds
from noria.corpus.clean import _HALF_PAIRS, _INVISIBLE, _LINE_ENDS, _SPACES, clean_text
from noria.corpus.deidentify import Deidentifier, replace_identities


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("e\u0301te\u0301", "été"),
        ("e\u200b\u0301", "é"),  # the accent meets its letter only after the cleaning
        ("two  spaces \t here", "two spaces here"),
        ("def f():\n    return 1", "def f():\n    return 1"),
        ("a \n\n\n\n b", "a\n\n b"),
        ("\u3000\u3000春天来了。\u3000\u3000好", "春天来了。 好"),
        ("nul\x00 bell\x07 \ufeffmark \u202eback", "nul bell mark back"),
        ("half \ud800 pair", "half \ufffd pair"),
        ("  ", ""),
        ("👩\u200d🚒 می\u200cخواهم", "👩\u200d🚒 می\u200cخواهم"),
    ],
)
def test_clean_text_has_one_form(text: str, clean: str) -> None:
    assert clean_text(text) == clean
    assert clean_text(clean) == clean


def test_what_is_not_looked_for_in_printable_text_is_not_printable() -> None:
    for pattern in (_SPACES, _HALF_PAIRS, _INVISIBLE, _LINE_ENDS):
        found = [chr(n) for n in range(sys.maxunicode + 1) if pattern.fullmatch(chr(n))]
        assert found and not any(map(str.isprintable, found))


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("write to anna.schmidt+news@firma.example.de.", "write to [EMAIL]."),
        ("请联系zhangwei88@163.com谢谢", "请联系[EMAIL]谢谢"),
        ("müller@firma.de", "[EMAIL]"),
        ("john (at) example (dot) com", "[EMAIL]"),
        ("手机13812345678。", "手机[PHONE]。"),
        ("手机：+86 138 1234 5678，座机010-62781234转8001", "手机：[PHONE]，座机[PHONE_2]"),
        ("13812345678,13912345678/13612345678", "[PHONE],[PHONE_2]/[PHONE_3]"),
        ("１３８１２３４５６７８ ｔｅｓｔ＠ｅｘａｍｐｌｅ．ｃｏｍ", "[PHONE] [EMAIL]"),
        ("call (415) 555-2671 or 1-800-273-8255", "call [PHONE] or [PHONE_2]"),
        ("+49 (0)30 901820, +44 20 7946 0958", "[PHONE], [PHONE_2]"),
        ("fax: 030/1234567, phone number is 4155550123", "fax: [PHONE], phone number is [PHONE_2]"),
        ("DE89 3704 0044 0532 0130 00 AND MORE", "[IBAN] AND MORE"),
        ("IBAN:GB82WEST12345698765432.", "IBAN:[IBAN]."),
        ("卡号6222021234567890128和4111 1111 1111 1111", "卡号[CARD]和[CARD_2]"),
        ("Amex 3782 822463 10005", "Amex [CARD]"),
        ("身份证号11010519491231002X，别外传", "身份证号[ID_NUMBER]，别外传"),
        ("SSN 219-09-9999", "SSN [SSN]"),
        ("my passport number is C01X00T47.", "my passport number is [PASSPORT]."),
        ("护照E12345678，通行证号码H12345678", "护照[PASSPORT]，通行证号码[PASSPORT_2]"),
        ("京A·12345、沪AD12345和粤Z1234港", "[PLATE]、[PLATE_2]和[PLATE_3]"),
        (
            "AB12 CDE, AA-123-BB; license plate 7ABC123",
            "[PLATE], [PLATE_2]; license plate [PLATE_3]",
        ),
        ("anna AT firma DOT com, anna#firma.com", "[EMAIL], [EMAIL_2]"),
        ("password: hunter22x. 密码：abc12345", "password: [CREDENTIALS]. 密码：[CREDENTIALS_2]"),
        ("They are not answering at 467 3395", "They are not answering at [PHONE]"),
        ("server 192.168.10.24, 服务器8.8.8.8。", "server [IP_ADDRESS], 服务器[IP_ADDRESS_2]。"),
        ("host 2001:db8::8a2e:370:7334", "host [IP_ADDRESS]"),
        ("https://user:s3cret@github.com/x.git", "https://[CREDENTIALS]@github.com/x.git"),
        ("https://a.b/c?x=1&token=abcdef12&y=2", "https://a.b/c?x=1&token=[CREDENTIALS]&y=2"),
        ("key sk-proj-abc123def456ghi789jkl012", "key [API_KEY]"),
        ("AKIAIOSFODNN7EXAMPLE", "[API_KEY]"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/\n-----END RSA PRIVATE KEY-----",
            "[PRIVATE_KEY]",
        ),
    ],
)
def test_identities_are_replaced_by_their_kind(text: str, replaced: str) -> None:
    result, counts = replace_identities(text)
    assert result == replaced
    assert sum(counts.values()) == replaced.count("[")
    assert replace_identities(result) == (result, {})


@pytest.mark.parametrize(
    "text",
    [
        "1,234,567 dollars in 1863, and 1861 1862 1863 1864",
        "$13812345678 and 13812345678 yuan and 18000000000",
        "金额13800000000元，人口13812345678人",
        "2023-01-15 12:30:45, 10/12/2023, 订单号20230115123456789",
        "article 12.3.4, version 10.0.0.1, v1.2.3.4, 127.0.0.1",
        "3.14159265358979 and 0.13812345678 and 1,234,567,890",
        "ISBN 978-7-111-54425-8; pages 123-456-789; 100 200 3000",
        "std::vector<int> a::b, 4111 1111 1111 1112, SSN 000-12-3456",
        "DE89 3704 0044 0532 0130 01, 110105194912310021",
        "telephone lines of 1876, 1877 and 1878; call on 3 January 1999",
        "sk-learn-something-long-without-any-number",
        "@everyone, see https://example.com/a?b=c and user@localhost",
        "He met Anna at Acme dot in; a passport is needed in 1999; contemplated +1",
        "The Senate heard the message of February 20, 1888; AB 12 CD; 川菜A1",
        "my message to the Senate of February 20 1888, together with which",
        "微信号 weixin, 周一9:00-18:00, 房间1808",
    ],
)
def test_years_amounts_and_numbers_survive(text: str) -> None:
    assert replace_identities(text) == (text, {})


def test_the_same_value_has_the_same_placeholder_however_it_is_spelled() -> None:
    text = "138 1234 5678, 13912345678, 138-1234-5678; A@B.cn a@b.cn"
    assert replace_identities(text)[0] == "[PHONE], [PHONE_2], [PHONE]; [EMAIL] [EMAIL]"


def test_numbers_go_on_after_those_that_a_text_came_with() -> None:
    assert replace_identities("[EMAIL_4] wrote to a@b.cn")[0] == "[EMAIL_4] wrote to [EMAIL_5]"


def test_texts_of_one_document_share_placeholders_and_do_not_wait_for_later_ones() -> None:
    texts = ["a@b.cn asks", "c@d.cn answers a@b.cn"]
    together, counts = Deidentifier().replace_together(texts)
    assert together == ["[EMAIL] asks", "[EMAIL_2] answers [EMAIL]"]
    assert counts == {"EMAIL": 3}
    assert Deidentifier().replace_together(texts[:1])[0] == together[:1]
    assert Deidentifier().replace_together(together) == (together, {})


def test_counts_hold_no_values() -> None:
    _, counts = replace_identities("a@b.cn c@d.cn 13812345678")
    assert counts == {"EMAIL": 2, "PHONE": 1}


def test_check_digits_catch_every_single_wrong_digit() -> None:
    checks = {
        "4111111111111111": luhn_holds,
        "DE89370400440532013000": iban_holds,
        "11010519491231002X": resident_id_holds,
    }
    for number, holds in checks.items():
        assert holds(number)
        for place, old in enumerate(number[:17]):
            for new in "0123456789" if old.isdigit() else "":
                changed = number[:place] + new + number[place + 1 :]
                assert holds(changed) == (new == old)


@pytest.mark.parametrize(
    "hostile",
    [
        "+1234567890",
        "a@",
        "a'",
        "1 ",
        "0",
        "eyJabcdefgh.",
        "a:",
        "http://a:",
        "AB12",
        "tel:1 ",
        "password: ",
        "call 12 ",
        "passport A1",
        "京A",
        " at a dot ",
        "(((1",
    ],
)
def test_time_grows_with_length_and_no_faster_on_hostile_text(hostile: str) -> None:
    def seconds(num_characters: int) -> float:
        text = hostile * (num_characters // len(hostile))
        times_s = []
        for _ in range(3):
            started_at = time.perf_counter()
            replace_identities(text)
            times_s.append(time.perf_counter() - started_at)
        return min(times_s)

    assert seconds(40_000) < 12 * seconds(10_000) + 0.05  # quadratic: 16 times and more

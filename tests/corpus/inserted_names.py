"""Names, organisations and addresses that no detector's list holds, made from a seed.

In: a random number generator. Out: a name as somebody might write it. Surnames and firms are
made of syllables, given names come from lists written here, of many countries; Chinese given
names are one or two characters drawn one by one. Chinese surnames are a closed set, so the common
ones stand in a detector's list too; the rare ones here stand in none.
"""

from __future__ import annotations

import random

from inserted_identities import Make


def _words(*lines: str) -> tuple[str, ...]:
    return tuple(word for line in lines for word in line.split())


_GIVEN = _words(
    "Aleida Amrit Anouk Arjun Aroha Bahar Benedek Bozena Catalina Chidi Dagny Danuta",
    "Ebele Eduardo Eirik Elif Emeka Fatou Femi Gonzalo Gudrun Hamza Heloise Ignacy Ilse",
    "Imran Ingeborg Ioana Jamila Jorge Kaveh Kerstin Khadija Kiran Lakshmi Leila Ludmila",
    "Mahmoud Malgorzata Marisol Matteo Mehmet Nadia Nikhil Noor Oksana Olumide Paloma",
    "Piotr Priya Rafael Renske Rohan Saoirse Sergei Shreya Siobhan Svetlana Tariq",
    "Thandiwe Ulrike Vikram Wiebke Xochitl Yasmin Yusuf Zainab Zoltan",
)
_COMMON = _words(
    "Alice Brian Carol Daniel Emily Frank Grace Henry Irene James Karen Laura Martin",
    "Nancy Oliver Peter",
)
_HEADS = _words(
    "Bar Bel Cor Dra Fen Gal Har Ked Lam Mor Nar Oll Pel Ros Sten Tor Ul Vas Wen Yar Zel",
    "Thor Quin Hol",
)
_TAILS = _words(
    "ander berg bridge den dorf ecki elli enko erson feld gard hurst inov kar land ley",
    "man mont ney oski ova quist ridge sen ski stein ström ton vale wick witz wood yan",
)
_STREETS = _words(
    "Street St Avenue Ave Road Rd Lane Drive Court Boulevard Terrace Way Close Square",
    "Crescent",
)
_TOWNS = _words(
    "Brackenmouth Eastvale Harrowgate Kestrelford Millhaven Northbury Oakmere Pinewick",
    "Stonebridge Westcombe",
)
_STATES = _words("CA NY TX OH WA IL MA OR")
_FORMS = (
    *_words("Ltd Inc LLC GmbH Group Partners Holdings Corporation Technologies Bank Institute"),
    "& Sons",
)

_SURNAMES_ZH = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
    "苏卢蒋蔡贾丁魏薛叶阎"
)
_RARE_ZH = "阚逄宓亓郗缪仝訾遆禤笪蔺扈郜隗"
_COMPOUND_ZH = _words("欧阳 上官 司马 诸葛 夏侯 皇甫 慕容 令狐")
_GIVEN_ZH = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红建国志远思雨欣怡子轩浩然梓"
    "涵若曦晓彤佳琪云飞海燕春梅雪松嘉豪俊凯诗瑶亦菲奕辰"
)
_CITIES_ZH = _words(
    "北京市 上海市 广东省深圳市 浙江省杭州市 江苏省南京市",
    "四川省成都市 湖北省武汉市 陕西省西安市 山东省青岛市 福建省厦门市",
)
_DISTRICTS_ZH = _words(
    "海淀区 朝阳区 浦东新区 南山区 西湖区 鼓楼区 武侯区 洪山区 雁塔区 市南区 思明区"
)
_ROADS_ZH = _words("中山 解放 人民 建设 长江 文华 青云 望江 科技 锦绣 梧桐 樱花 天目 滨河")
_BRANDS_ZH = _words("云岭 恒达 启明 瑞安 华诺 金桥 博远 星海 天禾 鼎盛 远航 嘉禾 新锐 海川")
_TRADES_ZH = _words("科技 贸易 软件 物流 建筑工程 生物医药 文化传媒 电子商务 机械制造 食品")
_FORMS_ZH = _words("有限公司 股份有限公司 集团 有限责任公司")


def person_en(rng: random.Random) -> str:
    """Given name and surname, with initials and particles; one in six is a given name alone."""
    given = rng.choice(_GIVEN if rng.random() < 0.7 else _COMMON)
    surname = rng.choice(_HEADS) + rng.choice(_TAILS)
    initial = rng.choice("ABCDEFGHJKLMRSTW")
    return rng.choice(
        [given, *[f"{given} {surname}"] * 3, f"{given} {initial}. {surname}",
         f"{given} {rng.choice(['van', 'de', 'von'])} {surname}"]
    )  # fmt: skip


def organization_en(rng: random.Random) -> str:
    """A made-up firm with a form, and now and then two names."""
    name = rng.choice(_HEADS) + rng.choice(_TAILS)
    other = rng.choice(_HEADS) + rng.choice(_TAILS)
    form = rng.choice(_FORMS)
    return rng.choice([f"{name} {form}", f"{name} {form}", f"{name} {other} {form}",
                       f"{name} and {other} {form}"])  # fmt: skip


def address_en(rng: random.Random) -> str:
    """House, street, town, postcode in American, British and continental order."""
    number, street = rng.randint(1, 4999), rng.choice(_HEADS) + rng.choice(_TAILS)
    town, way = rng.choice(_TOWNS), rng.choice(_STREETS)
    postcode = f"{rng.randint(10000, 99999)}"
    uk = f"{rng.choice(['SW', 'LS', 'M', 'EH'])}{rng.randint(1, 20)} {rng.randint(1, 9)}AB"
    return rng.choice(
        [
            f"{number} {street} {way}, {town}, {rng.choice(_STATES)} {postcode}",
            f"{number} {street} {way}, Apt. {rng.randint(1, 99)}, {town}, "
            f"{rng.choice(_STATES)} {postcode}",
            f"{number} {street} {way}",
            f"{rng.randint(1, 99)} {street} {way}, {town} {uk}",
            f"Flat {rng.randint(1, 9)}, {rng.randint(1, 99)} {street} {way}, {town}",
            f"P.O. Box {number}, {town}, {rng.choice(_STATES)} {postcode}",
            f"{street}straße {rng.randint(1, 120)}, {postcode} {town}",
            f"{rng.randint(1, 120)} rue {street}, {postcode} {town}",
        ]
    )


def person_zh(rng: random.Random) -> str:
    """Two to four characters; one surname in ten is rare, one in ten compound."""
    draw = rng.random()
    surname = rng.choice(
        _COMPOUND_ZH if draw < 0.1 else [*(_RARE_ZH if draw < 0.2 else _SURNAMES_ZH)]
    )
    return surname + "".join(rng.choices(_GIVEN_ZH, k=rng.choice([1, 2, 2, 2])))


def organization_zh(rng: random.Random) -> str:
    """Place, brand, trade and form of a firm; hospitals, schools and banks."""
    place = rng.choice(_CITIES_ZH).split("省")[-1].removesuffix("市")
    brand = rng.choice(_BRANDS_ZH)
    firm = f"{brand}{rng.choice(_TRADES_ZH)}{rng.choice(_FORMS_ZH)}"
    return rng.choice(
        [f"{place}{firm}", f"{place}{firm}", firm, f"{place}{brand}医院", f"{place}{brand}中学",
         f"{brand}银行{place}分行"]
    )  # fmt: skip


def address_zh(rng: random.Random) -> str:
    """From the province or the district down to the door."""
    city, district = rng.choice(_CITIES_ZH), rng.choice(_DISTRICTS_ZH)
    road = rng.choice(_ROADS_ZH) + rng.choice(["路", "街", "大道", "东路", "北街"])
    number = rng.randint(1, 999)
    door = f"{rng.randint(1, 30)}号楼{rng.randint(1, 6)}单元{rng.randint(101, 2808)}室"
    return rng.choice(
        [
            f"{city}{district}{road}{number}号",
            f"{city}{district}{road}{number}号{rng.choice(_BRANDS_ZH)}大厦{rng.randint(1, 30)}层",
            f"{city}{district}{rng.choice(_BRANDS_ZH)}花园{door}",
            f"{district}{road}{number}号{rng.randint(1, 30)}栋{rng.randint(101, 2808)}室",
            f"{city}{road}{number}弄{rng.randint(1, 99)}号{rng.randint(101, 999)}室",
            f"{road}{number}号",
        ]
    )


NAMES_EN: dict[str, tuple[Make, tuple[str, ...]]] = {
    "PERSON": (
        person_en,
        (
            "My name is {}.",
            "Yesterday {} asked me about the invoice.",
            "Please forward this to {} before noon.",
            "I spoke with {} about the broken window.",
            "{} will call you back.",
            "According to {}, the parcel never arrived.",
            "The contract was signed by {} last week.",
            "Dear {}, thank you for your letter.",
            "Kind regards,\n{}",
        ),
    ),
    "ORGANIZATION": (
        organization_en,
        (
            "I work for {}.",
            "We ordered the parts from {} in spring.",
            "{} has refused to pay.",
            "The invoice of {} is wrong.",
            "She left {} two years ago.",
        ),
    ),
    "ADDRESS": (
        address_en,
        (
            "I live at {}.",
            "Please send it to {}.",
            "My new address is {}.",
            "The parcel for {} came back.",
            "We met in front of {} at noon.",
        ),
    ),
}
NAMES_ZH: dict[str, tuple[Make, tuple[str, ...]]] = {
    "PERSON": (
        person_zh,
        (
            "我叫{}，想咨询一下订单。",
            "昨天{}问了我发票的事。",
            "请把这份文件转给{}。",
            "我和{}谈过窗户坏了的问题。",
            "{}先生明天会给您回电话。",
            "据{}说，包裹一直没有送到。",
            "合同上周由{}签字。",
            "尊敬的{}女士，您好！",
            "联系人：{}",
        ),
    ),
    "ORGANIZATION": (
        organization_zh,
        (
            "我在{}工作。",
            "我们春天从{}订了零件。",
            "{}拒绝付款。",
            "{}开的发票有错。",
            "她两年前离开了{}。",
        ),
    ),
    "ADDRESS": (
        address_zh,
        (
            "我住在{}。",
            "请寄到{}。",
            "我的新地址是{}。",
            "寄往{}的包裹被退回了。",
            "我们中午在{}门口见面。",
        ),
    ),
}

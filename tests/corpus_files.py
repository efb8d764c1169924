"""Files of every format that is read, made here: the readers' tests and their mutants."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from email.message import EmailMessage

import pyarrow
from pyarrow import parquet
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

ENGLISH = "The water wheel lifts the river that turns it, all day long."
CHINESE = "水车把河水提起来，河水又推动水车，整天不停。"


def zip_of(members: Mapping[str, bytes | str], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as found:
        for name, data in members.items():
            found.writestr(zipfile.ZipInfo(name), data, kind)
    return out.getvalue()


def tar_of(members: Mapping[str, bytes | str], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as found:  # type: ignore[call-overload]
        for name, data in members.items():
            content = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(content)
            found.addfile(info, io.BytesIO(content))
    return out.getvalue()


def docx() -> bytes:
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    paragraphs = "".join(
        f"<w:p><w:r><w:t>{text[:9]}</w:t></w:r><w:r><w:t>{text[9:]}</w:t></w:r></w:p>"
        for text in (ENGLISH, CHINESE)
    )
    deleted = "<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
    text = f"<w:document {space}><w:body>{paragraphs}{deleted}</w:body></w:document>"
    return zip_of({"[Content_Types].xml": "<Types/>", "word/document.xml": text})


def page(text: str) -> str:
    return (
        '<html><head><title>t</title></head><body><nav><a href="/">Home</a> <a>Shop</a></nav>'
        f"<main><h1>On wheels</h1><p>{text}</p></main><footer>Imprint</footer></body></html>"
    )


def epub() -> bytes:
    container = '<container><rootfiles><rootfile full-path="O/p.opf"/></rootfiles></container>'
    items = "".join(
        f'<item id="c{n}" href="c%20{n}.xhtml" media-type="application/xhtml+xml"/>' for n in (1, 2)
    )
    spine = '<spine><itemref idref="c2"/><itemref idref="c1"/></spine>'
    package = f"<package><manifest>{items}</manifest>{spine}</package>"
    return zip_of(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "O/p.opf": package,
            "O/c 1.xhtml": page(CHINESE),
            "O/c 2.xhtml": page(ENGLISH),
        }
    )


def mbox() -> bytes:
    found = b""
    for number, text in enumerate((ENGLISH, CHINESE)):
        message = EmailMessage()
        message["Subject"] = f"Wheel {number}"
        message["Message-ID"] = f"<{number}@mill.example>"
        message["References"] = "<0@mill.example>"
        message.set_content(text + "\n")
        message.add_attachment(b"\x00\x01", maintype="image", subtype="png", filename="a.png")
        found += b"From a@mill.example Mon Jan  5 00:00:00 2026\n" + bytes(message) + b"\n"
    return found


def mo() -> bytes:
    entries = [
        ("", "Content-Type: text/plain; charset=UTF-8\n"),
        (ENGLISH, CHINESE),
        ("Stop", "停"),
    ]
    originals = [one.encode() for one, _ in entries]
    translated = [one.encode() for _, one in entries]
    place = 28 + 16 * len(entries)
    tables, texts = b"", b""
    for text in (*originals, *translated):
        tables += struct.pack("<2I", len(text), place + len(texts))
        texts += text + b"\0"
    count = len(entries)
    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0)
    return head + tables + texts


def pdf(*texts: str) -> bytes:
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    out = io.BytesIO()
    canvas = Canvas(out, invariant=1)
    for text in texts:
        canvas.setFont("STSong-Light", 12)
        canvas.drawString(50, 700, text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def parquet_of(columns: Mapping[str, list[str | None]]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


PO = f"""# a comment
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

#: a.c:1
msgid "{ENGLISH[:20]}"
"{ENGLISH[20:]}"
msgstr "{CHINESE}"

msgid "%d \\"wheel\\""
msgid_plural "%d wheels"
msgstr[0] "%d 架水车"

#, fuzzy
msgid "Mill"
msgstr "工厂"

msgid "Open"
msgstr ""
"""

TMX = f"""<?xml version="1.0"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en"/><body>
<tu><tuv xml:lang="zh-CN"><seg>{CHINESE}</seg></tuv>
<tuv xml:lang="en"><seg>{ENGLISH}<ph>x</ph></seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>alone</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>Stop</seg></tuv><tuv xml:lang="de"><seg>Halt</seg></tuv></tu>
</body></tmx>
"""

CHAT = json.dumps(
    {
        "messages": [
            {"role": "user", "content": ENGLISH},
            {"role": "assistant", "content": CHINESE},
        ]
    },
    ensure_ascii=False,
)
SQUAD = json.dumps(
    {
        "data": [
            {
                "paragraphs": [
                    {
                        "context": ENGLISH,
                        "qas": [
                            {"question": "What lifts?", "answers": [{"text": "wheel"}]},
                            {"question": "Who?", "answers": [], "is_impossible": True},
                        ],
                    }
                ]
            }
        ]
    }
)
CONLL = "The O\nwheel B-THING\nin O\nDelft B-PLACE\n\n水 B-THING\n车 I-THING\n转 O\n"

# Name -> content; every one holds at least one good record.
FILES: dict[str, bytes] = {
    "a.txt": f"{ENGLISH}\n\n{CHINESE}\n".encode(),
    "gb.txt": f"{CHINESE * 3}\n".encode("gb18030"),
    "wide.txt": f"{ENGLISH}\n{CHINESE}\n".encode("utf-16"),
    "a.md": f"# Wheel\n\n{ENGLISH}\n".encode(),
    "a.csv": f'text,label\n"{ENGLISH}\nand ""more""",a\n{CHINESE},b\n'.encode(),
    "a.tsv": f"en\tzh\n{ENGLISH}\t{CHINESE}\n".encode(),
    "a.jsonl": f"{CHAT}\n{CHAT}\n".encode(),
    "a.json": json.dumps([ENGLISH, CHINESE]).encode(),
    "squad.json": SQUAD.encode(),
    "a.yml": f"conversations:\n- - {ENGLISH}\n  - {CHINESE}\n".encode(),
    "a.conll": CONLL.encode(),
    "a.html": page(f"{ENGLISH} {CHINESE}").encode(),
    "a.docx": docx(),
    "a.epub": epub(),
    "a.pdf": pdf(CHINESE, ENGLISH),
    "a.parquet": parquet_of({"source": [ENGLISH] * 9, "target": [CHINESE] * 9}),
    "a.mbox": mbox(),
    "a.po": PO.encode(),
    "a.mo": mo(),
    "a.tmx": TMX.encode(),
    "a.py": f'"""{ENGLISH}"""\n'.encode(),
    "a.jsonl.gz": gzip.compress(f"{CHAT}\n".encode() * 50, mtime=0),
    "a.zip": zip_of({"in/a.txt": ENGLISH, "b.txt": CHINESE}),
    "a.tgz": tar_of({"in/a.txt": ENGLISH, "b.txt": CHINESE}),
}

"""Makes documents to read: PDF, docx and patents written by hand, with Japanese in them, and what can go wrong."""

from __future__ import annotations

import os
import signal
import time
import zipfile
import zlib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]

SENTENCES = (
    "株式会社青空商事は二〇二四年度の決算を発表した。",
    "売上高は前年度に比べて一二パーセント増え、過去最高となった。",
    "主力のソフトウェア事業が国内と海外の両方で伸びたためである。",
)
PARAGRAPH = "".join(SENTENCES)


def pdf(
    pages: list[list[str]],
    encoding: str = "UniJIS-UTF16-H",
    *,
    title: str = "",
    extra: str = "",
    count: int | None = None,
    bottom: str = "",
    moves: dict[int, str] | None = None,
) -> bytes:
    """A PDF with a Japanese font that is not embedded: only the name of its CMap says what the bytes mean.

    Args:
        pages: lines of each page; vertical encodings (``-V``) set them as columns from right to left.
        encoding: a predefined CMap.
        title: its title.
        extra: more entries of the trailer.
        count: the number of pages it claims to have.
        moves: operators before single lines, by their number from 0.
        bottom: a line at the foot of each page; ``#`` is the page's number.
    """
    codecs = {"RKSJ": "cp932", "EUC": "euc_jp", "UTF8": "utf-8"}
    codec = next((codec for part, codec in codecs.items() if part in encoding), "utf-16-be")
    vertical = encoding.endswith("V")
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    objects.append(
        b"<< /Type /FontDescriptor /FontName /HeiseiMin-W3 /Flags 6 /FontBBox [0 -200 1000 900] /ItalicAngle 0"
        b" /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >>"
    )
    objects.append(
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /HeiseiMin-W3 /FontDescriptor 3 0 R /DW 1000"
        b" /CIDSystemInfo << /Registry (Adobe) /Ordering (Japan1) /Supplement 2 >> >>"
    )
    objects.append(
        b"<< /Type /Font /Subtype /Type0 /BaseFont /HeiseiMin-W3 /Encoding /%s /DescendantFonts [4 0 R] >>"
        % encoding.encode()
    )
    named = title.encode("utf-16-be").hex().encode()
    objects.append(b"<< /Title <feff%s> /CreationDate (D:20240501093000+09'00') >>" % named)
    kids = []
    for number, lines in enumerate(pages, start=1):
        step, start = ("-20 0", "550 800") if vertical else ("0 -20", "40 800")
        shown = [
            b"%s <%s> Tj %s Td"
            % ((moves or {}).get(place, "").encode(), line.encode(codec).hex().encode(), step.encode())
            for place, line in enumerate(lines)
        ]
        stream = b"BT /F1 12 Tf %s Td %s ET" % (start.encode(), b" ".join(shown))
        if bottom:
            foot = bottom.replace("#", str(number)).encode(codec).hex().encode()
            stream += b" BT /F1 9 Tf 40 30 Td <%s> Tj ET" % foot
        packed = zlib.compress(stream)
        objects.append(b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R"
            b" /Resources << /Font << /F1 5 0 R >> >> >>" % len(objects)
        )
        kids.append(len(objects))
    listed = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids) if count is None else count, listed)
    out = b"%PDF-1.5\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"trailer << /Size %d /Root 1 0 R /Info 6 0 R %s >>\nstartxref\n%d\n%%%%EOF\n"
    return (
        out
        + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
        + table
        + end
        % (
            len(objects) + 1,
            extra.encode(),
            len(out),
        )
    )


_ID = f"<{'43' * 16}>"
LOCKED = f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'41' * 32}> /U <{'42' * 32}> >> /ID [{_ID} {_ID}]"
"""Entries of a trailer that make a PDF ask for a password."""

_WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:mc="urn:mc" xmlns:wps="urn:wps"'
_STYLES = f"""<?xml version="1.0"?><w:styles {_WORD}>
<w:style w:type="paragraph" w:styleId="1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="a"><w:name w:val="Title"/></w:style></w:styles>"""


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of a Word document."""
    set_style = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{set_style}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def docx(path: Path, body: str, *, notes: str = "", title: str = "", more: dict[str, bytes] | None = None) -> Path:
    """Write a Word file with the given body."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "word/document.xml", f"<?xml version='1.0'?><w:document {_WORD}><w:body>{body}</w:body></w:document>"
        )
        archive.writestr("word/styles.xml", _STYLES)
        if notes:
            archive.writestr(
                "word/footnotes.xml", f"<w:footnotes {_WORD}><w:footnote>{notes}</w:footnote></w:footnotes>"
            )
        archive.writestr(
            "docProps/core.xml",
            f'<c xmlns:dc="d" xmlns:t="t"><dc:title>{title}</dc:title><t:created>2023-04-01T00:00:00Z</t:created></c>',
        )
        for name, data in (more or {}).items():
            archive.writestr(name, data)
    return path


def jp_patent(number: int = 1, *, head: str = '<?xml version="1.0" encoding="UTF-8"?>') -> str:
    """A Japanese publication in the manner of ST.36."""
    return f"""{head}
<!DOCTYPE jp-official-gazette PUBLIC "-//JPO//DTD GAT//EN" "gat-a-v1-2.dtd" [
<!ENTITY PIC{number} SYSTEM "p{number}.tif" NDATA TIF>
<!NOTATION TIF SYSTEM "TIF">]>
<jp-official-gazette lang="ja" kind-of-jp="A"><bibliographic-data>
<publication-reference><document-id><country>JP</country><doc-number>202400000{number}</doc-number>
<date>20240131</date></document-id></publication-reference>
<application-reference><document-id><date>20220701</date></document-id></application-reference>
<invention-title>日本語の文書を読み取る装置{number}</invention-title></bibliographic-data>
<abstract><p num="0000">【課題】日本語の文書を速く読み取る。<br/>
【解決手段】読取部１と出力部２とを備える。<img file="p.tif"/></p></abstract>
<claims><claim num="1"><claim-text>文書を読み取る読取部と、<claim-text>結果を出す
出力部とを備える装置。</claim-text></claim-text></claim>
<claim num="2"><claim-text>前記読取部が縦書きを読み取る、請求項１に記載の装置。</claim-text></claim></claims>
<description><technical-field><heading>技術分野</heading>
<p num="0001">本発明は、文書を読み取る装置に関する。</p></technical-field>
<p num="0002">従来の装置では、Ｈ<sub>２</sub>Ｏのような下付き文字を<u>読み取る</u>ことができなかった。</p>
<maths num="1"><math>E=mc2</math></maths></description></jp-official-gazette>
"""


ST96 = f"""<?xml version="1.0" encoding="UTF-8"?>
<jppat:PatentPublication xmlns:jppat="urn:jp" xmlns:pat="urn:pat" xmlns:com="urn:com"><jppat:BibliographicData>
<pat:PatentPublicationIdentification><com:PublicationDate>2024-02-29</com:PublicationDate>
</pat:PatentPublicationIdentification>
<pat:InventionTitle>発明の名称である</pat:InventionTitle></jppat:BibliographicData>
<pat:Abstract><pat:P com:id="1">{SENTENCES[0]}</pat:P></pat:Abstract>
<pat:Claims><pat:Claim><pat:ClaimText>{SENTENCES[1]}</pat:ClaimText></pat:Claim></pat:Claims>
<pat:Description><pat:P>{SENTENCES[2]}</pat:P></pat:Description></jppat:PatentPublication>"""

OUTSIDE = """<?xml version="1.0"?><!DOCTYPE patent [<!ENTITY f SYSTEM "file:///etc/hosts">]>
<patent><abstract>&f;</abstract></patent>"""
"""Asks for a file of the machine that reads it."""

LAUGHS = (
    """<?xml version="1.0"?><!DOCTYPE patent [<!ENTITY a "はは">
"""
    + "\n".join(f'<!ENTITY a{n} "{f"&a{n - 1 if n > 1 else str()};" * 10}">' for n in range(1, 10))
    + "]><patent>&a9;</patent>"
)

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500
"""How Word files of before 2007, and encrypted ones of after, begin."""


# Readers of pages that go wrong, for the process that reads.


def endless(payload: bytes) -> None:
    """Never comes back."""
    while True:
        pass


def greedy(payload: bytes) -> None:
    """Takes all memory there is."""
    held = []
    while True:
        held.append(bytearray(1 << 24))


def crash(payload: bytes) -> None:
    """Ends its process, as a fault in a library does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def asleep(payload: bytes) -> None:
    """Waits for something that never comes, using no processor time."""
    time.sleep(3600)


def loud(payload: bytes, word: str = "") -> tuple[str, str, str]:
    """Prints where the passages travel, as some libraries do."""
    os.write(1, b"warning: " * 100)
    print("warning")
    return "題", f"{word}{payload.decode()}", "utf-8"

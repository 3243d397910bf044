"""Every kind of file to its passages, read here (limits of time and memory: ``test_reader.py``)."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from shikomi.documents.passage import FIELDS, PROBLEMS, Fields, Limits, Part, Passage
from shikomi.documents.reading import passages
from tests.documents.files import (
    LAUGHS,
    LOCKED,
    OLE,
    OUTSIDE,
    PARAGRAPH,
    SENTENCES,
    ST96,
    docx,
    jp_patent,
    paragraph,
    pdf,
)


def read(path: Path, kind: str = "", *, fields: Fields = FIELDS, **limits) -> list[Passage]:
    found = list(passages(Part(str(path)), kind, fields, Limits(**limits)))
    assert all(passage.problem in ("", *PROBLEMS) for passage in found)
    assert all(not (passage.problem and passage.text) for passage in found)
    return found


def problem(path: Path, kind: str = "", **limits) -> str:
    found = read(path, kind, **limits)
    assert len(found) == 1
    return found[0].problem


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Plain text


@pytest.mark.parametrize(
    ("codec", "told"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("cp932", "cp932"), ("euc_jp", "euc_jp"),
     ("iso2022_jp", "iso2022_jp"), ("utf-32", "utf-32")],
)  # fmt: skip
def test_text_in_every_charset(tmp_path, codec, told):
    path = write(tmp_path, "報告 書.txt", f"{SENTENCES[0]}\r\n\r\n　{SENTENCES[1]}\n".encode(codec))
    assert read(path) == [Passage("\n".join(SENTENCES[:2]), kind="text", charset=told)]


def test_text_is_tidied(tmp_path):
    path = write(tmp_path, "a.txt", "ＡＢＣ\u00a0 \u3000の\x00\u200b話\x0c次の\u2028行か\u3099\u200e\n \n")
    path.write_bytes(path.read_bytes().replace(b"\0", b""))
    (passage,) = read(path)
    assert passage.text == "ＡＢＣ の 話\n次の\n行が"


def test_a_few_bad_bytes_are_left_out_and_many_are_none(tmp_path):
    assert read(write(tmp_path, "a.txt", (PARAGRAPH * 10).encode() + b"\xff"))[0].text == PARAGRAPH * 10
    assert problem(write(tmp_path, "b.txt", PARAGRAPH.encode() + b"\xff\xfe\x80" * 40)) == "charset"


# What a file is


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("空.txt", b"", "empty_file"), ("空.pdf", b"", "empty_file"), ("白.txt", b" \n\n", "no_text"),
     ("絵.pdf", b"\x89PNG\r\n\x1a\n", "unknown_kind"), ("古い 報告.docx", OLE, "old_word"), ("古.doc", OLE, "old_word"),
     ("鍵.docx", OLE + "EncryptedPackage".encode("utf-16-le"), "password"), ("表.xls", OLE, "unknown_kind"),
     ("文.pdf", "これは文書です。".encode(), "wrong_kind"), ("切.docx", b"PK\x03\x04" + b"x" * 99, "damaged"),
     ("列.parquet", b"x" * 99, "wrong_kind"), ("列2.parquet", b"PAR1" + b"x" * 99, "damaged"),
     ("算.bin", bytes(range(256)) * 9, "charset"), ("頁.pdf", b"%PDF-1.7\n", "damaged")],
)  # fmt: skip
def test_what_cannot_be_read_has_a_reason(tmp_path, name, content, reason):
    assert problem(write(tmp_path, name, content)) == reason


def test_no_file_a_folder_and_a_pipe(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.txt")
    for path in (tmp_path / "nothing.txt", tmp_path, tmp_path / "pipe.txt"):
        assert problem(path) == "not_found"


def test_content_goes_before_the_name(tmp_path):
    assert read(write(tmp_path, "a.txt", pdf([[SENTENCES[0]]])))[0].kind == "pdf"
    assert read(docx(tmp_path / "b.pdf", paragraph(PARAGRAPH)))[0].kind == "docx"
    assert read(write(tmp_path, "c.txt", f"<!DOCTYPE html><title>題</title><p>{PARAGRAPH}"))[0].kind == "html"
    assert read(write(tmp_path, "d.txt", ST96))[0].kind == "patent"
    assert problem(write(tmp_path, "e.txt", pdf([[SENTENCES[0]]])), "docx") == "wrong_kind"
    assert read(write(tmp_path, "f.html", PARAGRAPH), "text")[0].text == PARAGRAPH


def test_other_packages_are_named(tmp_path):
    for part, name in (("xl/workbook.xml", "xlsx"), ("ppt/presentation.xml", "pptx"), ("a.txt", "zip")):
        with zipfile.ZipFile(tmp_path / f"{name}.docx", "w") as archive:
            archive.writestr(part, "x")
        (found,) = read(tmp_path / f"{name}.docx")
        assert (found.problem, found.detail) == ("unknown_kind", name)


def test_too_large(tmp_path):
    for name in ("a.txt", "a.md", "a.html", "a.xml", "a.json"):
        assert problem(write(tmp_path, name, PARAGRAPH * 20), file_bytes=2000) == "too_large"
    assert problem(write(tmp_path, "a.pdf", pdf([[PARAGRAPH]] * 9)), file_bytes=2000) == "too_large"
    assert problem(write(tmp_path, "b.txt", PARAGRAPH * 20), characters=1000) == "too_much_text"


# HTML


def test_html(tmp_path):
    page = f"<html><head><meta charset=shift_jis><title>決算 &amp; 報告</title></head><body><p>{PARAGRAPH}</p></body>"
    (found,) = read(write(tmp_path, "頁.htm", page.encode("cp932")))
    assert (found.title, found.text, found.charset) == ("決算 & 報告", PARAGRAPH, "cp932")


# Markdown

NOTE = """---
title: "議事録"
date: 2024-05-01
---
前書きの
続き。

# 第一回 #

**「重要」**な点は_二つ_で、[資料](http://example.test/a(b).html)と![図](a.png)`code`を見る。
English words
go on.
次の段\\*落<br>です&amp;。<!-- 秘密 -->

- 一つ目
- [x] 二つ目
1. 三つ目

> 引用の文
> です。

```python
print("左")
```

| 品目 | 価格 |
|---|---:|
| りんご | 百円 |

まとめ
======
終わり[^1]。 https://example.test/

#### 細目
文。

[資料]: http://example.test/
"""


def test_markdown(tmp_path):
    found = read(write(tmp_path, "議事録.md", NOTE))
    assert [(p.title, p.date, p.where) for p in found] == [
        ("議事録", "2024-05-01", "section=1"),
        ("議事録", "2024-05-01", "section=2"),
        ("議事録", "2024-05-01", "section=3"),
    ]
    assert found[0].text == "前書きの続き。"
    assert found[1].text.split("\n") == [
        "第一回",
        "「重要」な点は二つで、資料とcodeを見る。English words go on.次の段*落です&。",
        "・一つ目",
        "・二つ目",
        "1. 三つ目",
        "引用の文です。",
        "品目 価格",
        "りんご 百円",
    ]
    assert found[2].text.split("\n") == ["まとめ", "終わり。 https://example.test/", "細目", "文。"]


@pytest.mark.parametrize("mark", ["*", "_", "[", "`", "> ", "![", "<", "**", "- ", "#"])
def test_markdown_of_marks_alone_takes_no_time(tmp_path, mark):
    read(write(tmp_path, "a.md", mark * 20_000 + "あ"))


# PDF


@pytest.mark.parametrize(
    "encoding", ["UniJIS-UTF16-H", "UniJIS-UCS2-H", "90ms-RKSJ-H", "EUC-H", "UniJIS-UTF16-V", "90ms-RKSJ-V"]
)
def test_pdf_without_embedded_fonts_horizontal_and_vertical(tmp_path, encoding):
    path = write(tmp_path, "年次 報告.pdf", pdf([list(SENTENCES), [PARAGRAPH[:40]]], encoding, title="年次報告"))
    found = read(path)
    assert [(p.title, p.where, p.date) for p in found] == [
        ("年次報告", "page=1", "2024-05-01T09:30:00"),
        ("年次報告", "page=2", "2024-05-01T09:30:00"),
    ]
    assert found[0].text == "\n".join(SENTENCES)
    assert found[1].text == PARAGRAPH[:40]


def cut(text: str, width: int) -> list[str]:
    return [text[start : start + width] for start in range(0, len(text), width)]


def test_pdf_printed_lines_become_paragraphs_and_running_heads_go(tmp_path):
    text = SENTENCES[1].replace("。", "、") * 6 + SENTENCES[2]
    lines = cut(text, 30)
    pages = [
        ["青空商事 年次報告", *lines[:4]],
        ["青空商事 年次報告", *lines[4:]],
        ["青空商事 年次報告", PARAGRAPH[:30]],
    ]
    found = read(write(tmp_path, "a.pdf", pdf(pages, bottom="- # -")))
    assert [p.goes_on for p in found] == [True, False, True]
    assert found[0].text + found[1].text == text
    assert found[2].text == PARAGRAPH[:30]


def test_pdf_vertical_in_two_tiers(tmp_path):
    path = write(tmp_path, "縦.pdf", pdf([cut(SENTENCES[1], 10)], "UniJIS-UTF16-V"))
    assert read(path)[0].text.replace("\n", "") == SENTENCES[1]
    lower = "1 0 0 1 550 400 Tm"
    path = write(tmp_path, "段.pdf", pdf([[*SENTENCES[:2], *SENTENCES[2:]]], "UniJIS-UTF16-V", moves={2: lower}))
    assert read(path)[0].text == "\n".join(SENTENCES)


def test_pdf_vertical_readings_are_left_out(tmp_path):
    small = {1: "/F1 5 Tf 1 0 0 1 559 800 Tm", 2: "/F1 12 Tf 1 0 0 1 530 800 Tm"}
    path = write(
        tmp_path, "縦.pdf", pdf([[SENTENCES[0], "かぶしきがいしゃ", SENTENCES[1]]], "UniJIS-UTF16-V", moves=small)
    )
    assert read(path)[0].text == "\n".join(SENTENCES[:2])


def test_pdf_vertical_spaces_stay(tmp_path):
    path = write(tmp_path, "縦.pdf", pdf([["青空商事の ABC 部門である。"]], "UniJIS-UTF16-V"))
    assert read(path)[0].text == "青空商事の ABC 部門である。"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(pdf([[PARAGRAPH]], extra=LOCKED), "password"), (pdf([[PARAGRAPH]])[:300], "damaged"), (pdf([[]]), "no_text"),
     (pdf([["x"]], count=1_000_000), "too_many_pages"), (pdf([[PARAGRAPH]], "UniJIS-UTF8-H"), "unmapped_glyphs")],
)  # fmt: skip
def test_pdf_that_cannot_be_read(tmp_path, data, reason):
    assert problem(write(tmp_path, "a.pdf", data)) == reason


def test_pdf_cut_off_in_its_last_page_never_gives_wrong_text(tmp_path):
    whole = pdf([[sentence] for sentence in SENTENCES])
    for length in range(200, len(whole), 97):
        for passage in read(write(tmp_path, "a.pdf", whole[:length])):
            assert passage.problem or passage.text in SENTENCES


def test_pdf_limits(tmp_path):
    path = write(tmp_path, "a.pdf", pdf([[SENTENCES[0]]] * 5))
    assert problem(path, pages=4) == "too_many_pages"
    assert problem(path, characters=20) == "too_much_text"


# docx


def test_docx(tmp_path):
    run = "<w:r><w:t>{}</w:t></w:r>".format
    body = (
        paragraph("年次報告", "a")
        + paragraph("はじめに。")
        + paragraph("第一章", "1")
        + f"<w:p>{run('残る')}<w:del><w:r><w:delText>消えた</w:delText></w:r></w:del><w:ins>{run('足した')}</w:ins>"
        "<w:r><w:instrText>HYPERLINK x</w:instrText></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t>隠れ</w:t></w:r>"
        f"<w:r><w:br/></w:r>{run('次の行')}<w:r><w:tab/></w:r>{run('字')}</w:p>"
        "<w:p><w:ruby><w:rt><w:r><w:t>あおぞら</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>青空</w:t></w:r></w:rubyBase></w:ruby></w:p>"
        f"<w:tbl><w:tr><w:tc>{paragraph('品目')}{paragraph('名')}</w:tc><w:tc>{paragraph('価格')}</w:tc></w:tr></w:tbl>"
        "<w:p><w:r><mc:AlternateContent><mc:Choice><w:drawing><wps:txbx><w:txbxContent>"
        + paragraph("囲みの文。")
        + "</w:txbxContent></wps:txbx></w:drawing></mc:Choice><mc:Fallback><w:pict><w:txbxContent>"
        + paragraph("囲みの文。")
        + "</w:txbxContent></w:pict></mc:Fallback></mc:AlternateContent></w:r></w:p>"
    )
    found = read(docx(tmp_path / "報告 書.docx", body, notes=paragraph("脚注です。")))
    assert [(p.title, p.where, p.date) for p in found] == [
        ("年次報告", f"section={number}", "2023-04-01T00:00:00Z") for number in (1, 2, 3)
    ]
    assert found[0].text == "年次報告\nはじめに。"
    assert found[1].text == "第一章\n残る足した\n次の行 字\n青空\n品目 名 価格\n囲みの文。"
    assert found[2].text == "脚注です。"


def test_docx_bombs(tmp_path):
    bomb = docx(tmp_path / "a.docx", paragraph("あ") + " " * 3_000_000)
    assert bomb.stat().st_size < 20_000
    assert problem(bomb, file_bytes=1_000_000) == "too_large"
    assert problem(docx(tmp_path / "b.docx", paragraph("あ" * 100_000)), characters=10_000) == "too_much_text"
    assert problem(docx(tmp_path / "c.docx", "<w:p>" * 100_000)) == "too_deep"
    assert problem(docx(tmp_path / "d.docx", "<w:p>")) == "damaged"
    assert problem(docx(tmp_path / "e.docx", "<w:p/>")) == "no_text"
    many = docx(tmp_path / "f.docx", paragraph("あ"), more={f"word/media/{number}": b"" for number in range(10_001)})
    assert problem(many) == "too_large"
    with zipfile.ZipFile(tmp_path / "g.docx", "w") as archive:
        archive.writestr("word/document.xml", LAUGHS)
    assert problem(tmp_path / "g.docx") == "entities"


def test_docx_damaged_anywhere_is_told(tmp_path):
    whole = docx(tmp_path / "a.docx", paragraph(PARAGRAPH * 5)).read_bytes()
    for position in range(0, len(whole), 61):
        data = bytearray(whole)
        data[position] ^= 0x55
        for passage in read(write(tmp_path, "b.docx", bytes(data))):
            assert passage.problem or passage.text == PARAGRAPH * 5


def test_docx_with_an_encrypted_member(tmp_path):
    data = bytearray(docx(tmp_path / "a.docx", paragraph(PARAGRAPH)).read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = data.find(magic)
        while position >= 0:
            data[position + offset] |= 1
            position = data.find(magic, position + 1)
    assert problem(write(tmp_path, "b.docx", bytes(data))) == "password"


def test_docx_whose_main_part_has_another_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "_rels/.rels", '<R><Relationship Type="http://x/officeDocument" Target="/word/document2.xml"/></R>'
        )
        archive.writestr("word/document2.xml", f"<d><p><r><t>{PARAGRAPH}</t></r></p></d>")
    assert read(tmp_path / "a.docx")[0].text == PARAGRAPH


# Patents


def test_patent_st36(tmp_path):
    found = read(write(tmp_path, "公開.xml", jp_patent()))
    assert [(p.where, p.title, p.date) for p in found] == [
        (where, "日本語の文書を読み取る装置1", "2024-01-31") for where in ("title", "abstract", "claims", "description")
    ]
    assert found[1].text == "【課題】日本語の文書を速く読み取る。\n【解決手段】読取部１と出力部２とを備える。"
    assert found[2].text.split("\n") == [
        "文書を読み取る読取部と、",
        "結果を出す出力部とを備える装置。",
        "前記読取部が縦書きを読み取る、請求項１に記載の装置。",
    ]
    assert found[3].text.split("\n") == [
        "技術分野",
        "本発明は、文書を読み取る装置に関する。",
        "従来の装置では、Ｈ２Ｏのような下付き文字を読み取ることができなかった。",
    ]


@pytest.mark.parametrize("codec", ["cp932", "euc_jp", "utf-16"])
def test_patent_in_old_charsets(tmp_path, codec):
    declared = {"cp932": "Shift_JIS", "euc_jp": "EUC-JP", "utf-16": "UTF-16"}[codec]
    text = jp_patent(head=f'<?xml version="1.0" encoding="{declared}"?>')
    found = read(write(tmp_path, "a.xml", text.encode(codec)))
    assert [p.where for p in found] == ["title", "abstract", "claims", "description"]
    assert found[0].charset == codec


def test_patent_st96_and_several_in_one_file(tmp_path):
    found = read(write(tmp_path, "a.xml", ST96))
    assert [(p.where, p.text, p.date) for p in found] == [
        ("title", "発明の名称である", "2024-02-29"),
        ("abstract", SENTENCES[0], "2024-02-29"),
        ("claims", SENTENCES[1], "2024-02-29"),
        ("description", SENTENCES[2], "2024-02-29"),
    ]
    found = read(write(tmp_path, "b.xml", jp_patent(1) + LAUGHS + jp_patent(2)))
    assert [p.document for p in found] == [0, 0, 0, 0, 1, 2, 2, 2, 2]
    assert [p.problem for p in found if p.problem] == ["entities"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [(LAUGHS, "entities"), ("<?xml version='1.0'?><feed/>", "unknown_kind"),
     ("<?xml version='1.0'?><patent/>", "no_text"),
     (jp_patent()[:900], "damaged"), ("<?xml version='1.0'?><patent>" + "<p>" * 100_000, "too_deep"),
     (OUTSIDE, "no_text")],
)  # fmt: skip
def test_patent_that_cannot_be_read(tmp_path, text, reason):
    assert problem(write(tmp_path, "a.xml", text)) == reason


# Rows


def test_jsonl_names_bad_lines(tmp_path):
    lines = [
        json.dumps({"text": SENTENCES[0], "meta": {"t": "題", "n": 7}, "url": "https://a.test/"}, ensure_ascii=False),
        "",
        "{not json",
        '{"body": "x"}',
        "[1]",
        "[" * 100_000,
        '{"text": ""}',
        '{"text": "\\ud800' + SENTENCES[1] + '"}',
    ]
    path = write(tmp_path, "行.jsonl", "\ufeff" + "\n".join(lines))
    found = read(path, fields=Fields(title="meta.t", id="meta.n", url="url"))
    assert [(p.where, p.problem) for p in found] == [
        ("line=1", ""), ("line=3", "bad_line"), ("line=4", "no_field"), ("line=5", "bad_line"), ("line=6", "bad_line"),
        ("line=7", "no_text"), ("line=8", ""),
    ]  # fmt: skip
    assert (found[0].title, found[0].id, found[0].url) == ("題", "7", "https://a.test/")
    assert found[2].detail == 'no field "text" with text (there are: body)'
    assert found[-1].text == SENTENCES[1]
    assert [p.document for p in found] == list(range(7))


def test_jsonl_in_shift_jis_with_inner_lists(tmp_path):
    row = {"utterances": [{"text": sentence} for sentence in SENTENCES] + [{"no": 1}]}
    path = write(tmp_path, "a.jsonl", json.dumps(row, ensure_ascii=False).encode("cp932"))
    (found,) = read(path, fields=Fields("utterances.text"))
    assert (found.text, found.charset) == ("\n".join(SENTENCES), "cp932")


def test_jsonl_with_a_line_too_long(tmp_path):
    rows = [json.dumps({"text": text}) for text in (SENTENCES[0], "あ" * 5000, SENTENCES[1])]
    found = read(write(tmp_path, "a.jsonl", "\n".join(rows)), file_bytes=2000)
    assert [(p.where, p.problem) for p in found] == [("line=1", ""), ("line=2", "too_large"), ("line=3", "")]
    found = read(write(tmp_path, "a.jsonl", "\n".join(rows)), characters=100)
    assert [p.problem for p in found] == ["", "too_much_text", ""]


def test_packed_jsonl(tmp_path):
    data = json.dumps({"text": SENTENCES[0]}).encode()
    assert read(write(tmp_path, "a.jsonl.gz", gzip.compress(data)))[0].text == SENTENCES[0]
    packed = pa.compress(data, codec="zstd", asbytes=True)
    assert read(write(tmp_path, "a.jsonl.zst", packed))[0].text == SENTENCES[0]
    assert problem(write(tmp_path, "b.jsonl.gz", gzip.compress(data)[:-9])) == "damaged"
    assert problem(write(tmp_path, "b.txt.gz", gzip.compress(data))) == "unknown_kind"


def test_json(tmp_path):
    rows = [{"text": sentence} for sentence in SENTENCES]
    found = read(write(tmp_path, "a.json", json.dumps(rows, ensure_ascii=False, indent=1)))
    assert [(p.text, p.where) for p in found] == [(s, f"row={n}") for n, s in enumerate(SENTENCES, start=1)]
    assert read(write(tmp_path, "b.json", json.dumps({"text": PARAGRAPH})))[0].text == PARAGRAPH
    assert problem(write(tmp_path, "c.json", "[" * 100_000)) == "damaged"
    assert problem(write(tmp_path, "d.json", '[{"a": 1}')) == "damaged"


def test_parquet(tmp_path):
    import datetime

    table = pa.table({
        "本文": [*SENTENCES, None],
        "when": [datetime.date(2024, 1, day) for day in (1, 2, 3, 4)],
        "unused": [b"x" * 1000] * 4,
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "表.parquet", row_group_size=2)
    fields = Fields("本文", date="when")
    found = read(tmp_path / "表.parquet", fields=fields)
    assert [(p.text, p.where, p.date, p.problem) for p in found] == [
        (SENTENCES[0], "row=1", "2024-01-01", ""),
        (SENTENCES[1], "row=2", "2024-01-02", ""),
        (SENTENCES[2], "row=3", "2024-01-03", ""),
        ("", "row=4", "", "no_field"),
    ]
    part = Part(str(tmp_path / "表.parquet"), 1, 2, 3)
    assert [p.where for p in passages(part, "parquet", fields)] == ["row=3", "row=4"]
    (wrong,) = read(tmp_path / "表.parquet")
    assert wrong.problem == "no_field"
    assert "本文" in wrong.detail
    data = (tmp_path / "表.parquet").read_bytes()
    assert problem(write(tmp_path, "b.parquet", data[: len(data) // 2])) == "damaged"

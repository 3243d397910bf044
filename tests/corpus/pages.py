"""Pages and WARC files for the corpus tests: made-up Japanese that passes every rule, and what surrounds it."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

_KANJI = (
    "会社製品市場新聞発表売上開発技術環境事業計画地域文化教育研究情報管理品質安全生産工場店舗顧客価格原料輸出国内海外"
)
_PARTICLES = ["は", "が", "を", "に", "で", "と", "から", "まで", "には", "では"]
_ENDS = ["しています", "となりました", "と考えられる", "を進めている", "が増えました", "を始めた", "であった"]
_KANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわ"


def japanese_text(seed: int, sentences: int = 24, a_line: int = 3) -> str:
    """Made-up Japanese that passes the rules of swallow-v1: one paragraph a line, no two seeds alike."""
    rnd = random.Random(seed)
    made = []
    for _ in range(sentences):
        phrases = []
        for _ in range(rnd.randint(4, 7)):
            word = "".join(rnd.sample(_KANJI, 2)) + "".join(rnd.sample(_KANA, rnd.randint(0, 2)))
            phrases.append(word + rnd.choice(_PARTICLES))
        made.append("".join(phrases) + rnd.choice(_ENDS) + "。")
    return "\n".join("".join(made[i : i + a_line]) for i in range(0, len(made), a_line))


def html_page(text: str, *, title: str = "題名のある頁", head: str = "", before: str = "", after: str = "") -> str:
    """A page whose article is ``text``, one paragraph a line."""
    body = "".join(f"<p>{line}</p>\n" for line in text.split("\n"))
    return (
        f"<!DOCTYPE html><html><head>{head}<title>{title}</title></head><body>{before}"
        f"<main><article><h1>{title}</h1>\n{body}</article></main>{after}</body></html>"
    )


@dataclass
class Response:
    """One response record to write."""

    url: str
    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: str = "200 OK"
    kind: str = "response"
    headers: list[tuple[str, str]] = field(default_factory=list)


def write_warc(path: Path, responses: list[Response], *, gzip: bool = True) -> Path:
    """Write response (or other) records, each fetched a second after the one before."""
    buffer = io.BytesIO()
    writer = WARCWriter(buffer, gzip=gzip)
    for number, response in enumerate(responses):
        headers = [("Content-Type", response.content_type), *response.headers]
        http = StatusAndHeaders(response.status, headers, protocol="HTTP/1.1")
        record = writer.create_warc_record(
            response.url,
            response.kind,
            payload=io.BytesIO(response.body),
            http_headers=None if response.kind == "conversion" else http,
            warc_content_type="text/plain" if response.kind == "conversion" else "",
            warc_headers_dict={"WARC-Date": f"2026-04-01T00:{number // 60:02d}:{number % 60:02d}Z"},
        )
        writer.write_record(record)
    path.write_bytes(buffer.getvalue())
    return path

"""Bad input of every kind in one run: nothing ends it, each is counted under its reason, the good page is kept."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from shikomi.corpus.pages import read_pages
from shikomi.recipe.corpus import CorpusPage
from tests.conftest import ROOT
from tests.corpus.pages import Response, html_page, japanese_text, write_warc

GOOD = html_page(japanese_text(1)).encode()
MEGABYTE = 1 << 20


def bomb(megabytes: int) -> bytes:
    """So many megabytes of one letter, a thousandth of them here."""
    deflate = zlib.compressobj(1, wbits=31)
    return b"".join([*(deflate.compress(b"a" * MEGABYTE) for _ in range(megabytes)), deflate.flush()])


def mixed_charsets() -> bytes:
    """A page whose paragraphs are in UTF-8, Shift_JIS and EUC-JP by turns."""
    lines = japanese_text(2).split("\n")
    parts = [line.encode(("utf-8", "cp932", "euc_jp")[number % 3]) for number, line in enumerate(lines)]
    return b"<html lang=ja><body><p>" + b"</p><p>".join(parts) + b"</p></body></html>"


def large_page(megabytes: int) -> bytes:
    """A good page with so many megabytes of blanks after it."""
    return GOOD + b" " * (megabytes * MEGABYTE)


LONE = html_page(japanese_text(4)).replace("。", "&#xD800;。&#xDFFF;", 20).encode()
RAW_LONE = html_page(japanese_text(5)).encode().replace("。".encode(), b"\xed\xa0\x80", 3)
NESTED = b"<html lang=ja>" + b"<div>" * 100_000 + japanese_text(6).encode() + b"</div>" * 100_000
GZIPPED = [("Content-Encoding", "gzip")]

PAGES = {
    "bomb": Response("https://bomb.test/", bomb(200), headers=GZIPPED),
    "bomb-in-bomb": Response(
        "https://bombs.test/", gzip.compress(bomb(50)), headers=[("Content-Encoding", "gzip, gzip")]
    ),
    "large": Response("https://large.test/", large_page(50)),
    "nested": Response("https://nested.test/", NESTED),
    "mixed": Response("https://mixed.test/", mixed_charsets()),
    "lone": Response("https://lone.test/", LONE),
    "raw-lone": Response("https://raw-lone.test/", RAW_LONE),
    "nothing": Response("https://nothing.test/", b""),
    "zeros": Response("https://zeros.test/", b"<html lang=ja>" + b"\0" * 100_000),
    "brackets": Response("https://brackets.test/", b"<html lang=ja>" + b"<" * 200_000),
    "attributes": Response("https://attributes.test/", b"<html lang=ja><p " + b'a="' * 100_000),
    "comment": Response("https://comment.test/", b"<html lang=ja><!--" + b"-" * 300_000),
    "good": Response("https://good.test/", GOOD),
}


@pytest.fixture(scope="module")
def warc(tmp_path_factory) -> Path:
    """All bad pages in one file."""
    return write_warc(tmp_path_factory.mktemp("bad") / "bad.warc.gz", list(PAGES.values()))


@pytest.fixture(scope="module")
def rows(warc) -> dict[str, dict]:
    """What became of each page, beside an empty file, a folder and a file cut in its first record."""
    folder = warc.parent
    (folder / "empty.warc.gz").touch()
    (folder / "folder.warc.gz").mkdir()
    (folder / "cut.warc.gz").write_bytes(warc.read_bytes()[:200])
    inputs = [warc, *(folder / f"{name}.warc.gz" for name in ("empty", "folder", "cut"))]
    facts = read_pages(CorpusPage(), inputs, folder / "pages")
    assert [(told["input"], told["records"]) for told in facts["inputs"]] == [
        ("warc", len(PAGES)),
        ("empty", 0),
        ("folder", 0),
        ("warc", 1),
    ]
    assert facts["quarantined"] == 0
    table = parquet.read_table(folder / "pages" / "shards" / "part-00000.parquet").to_pylist()
    return dict(zip(PAGES, table, strict=True))


def test_each_is_counted_under_its_reason_and_url(rows):
    assert [row["url"] for row in rows.values()] == [response.url for response in PAGES.values()]
    reasons = {name: row["reason"] for name, row in rows.items() if row["verdict"] != "kept"}
    assert {name: reasons[name] for name in ("bomb", "bomb-in-bomb", "large", "mixed")} == {
        "bomb": "too_large",
        "bomb-in-bomb": "too_large",
        "large": "too_large",
        "mixed": "charset",
    }
    assert {"nothing", "zeros", "brackets", "attributes", "comment"} <= reasons.keys()
    assert "good" not in reasons
    assert rows["good"]["text"].endswith(japanese_text(1))


def test_lone_surrogates_leave_no_text_that_cannot_be_written(rows):
    assert rows["lone"]["text"].count("。") > 0
    for row in rows.values():
        row["text"].encode("utf-8")
        assert not any("\ud800" <= character <= "\udfff" for character in row["text"])


def test_a_page_of_many_nested_tags_keeps_its_text(rows):
    assert japanese_text(6).split("\n")[0] in rows["nested"]["text"]


WORKER = """
import sys
from pathlib import Path
from shikomi.compute.pool import Limits, listening
from shikomi.corpus.shards import Task, make_shard
from shikomi.recipe.corpus import CorpusPage
for number, name in enumerate(sys.argv[2:]):
    with listening(None, Limits()):
        make_shard(Task(Path(name), Path(sys.argv[1]) / f"{number}.parquet", CorpusPage()))
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")))
"""


def peak_megabytes(inputs: list[Path], folder: Path) -> float:
    """Memory a worker of its own held at most while it made the shards (MB)."""
    command = [sys.executable, "-c", WORKER, str(folder), *map(str, inputs)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return int(told.stdout) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read in Linux's /proc")
def test_no_bad_page_takes_a_worker_above_its_memory(warc, tmp_path):
    text = japanese_text(7, sentences=14_000)  # 1.3 MB, as much as a page may have
    long = [Response(f"https://long-{n}.test/", html_page(text).encode()) for n in range(3)]
    assert peak_megabytes([warc, write_warc(tmp_path / "long.warc.gz", long)], tmp_path) < 200, "MB"

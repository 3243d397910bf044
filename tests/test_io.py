"""Files appear whole or not at all, and a wrong one is named to the line."""

from __future__ import annotations

import hashlib
import json

import pytest

from shikomi import io
from shikomi.errors import DataError


def test_a_file_appears_only_when_complete(tmp_path):
    path = tmp_path / "新しい folder" / "out.txt"
    with io.atomic(path) as handle:
        handle.write("半分")
        handle.flush()
        assert not path.exists()
        handle.write("全部\n")
    assert path.read_bytes() == "半分全部\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.json"
    io.write_json(path, {"version": 1})

    def half_way():
        with io.atomic(path) as handle:
            handle.write('{"version": 2')
            raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        half_way()
    assert io.read_json(path) == {"version": 1}


def test_a_value_that_has_no_json_leaves_nothing(tmp_path):
    path = tmp_path / "rows.jsonl"
    with pytest.raises(TypeError):
        io.write_jsonl(path, [{"good": 1}, {"bad": object()}])
    assert not path.exists()


def test_a_left_over_partial_file_is_written_over(tmp_path):
    path = tmp_path / "out.txt"
    path.with_name("out.txt" + io.PARTIAL_SUFFIX).write_text("a longer text of an attempt that was killed")
    with io.atomic(path) as handle:
        handle.write("short")
    assert path.read_text() == "short"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_are_written_as_they_are(tmp_path):
    path = tmp_path / "out.bin"
    with io.atomic(path, "wb") as handle:
        handle.write(b"\r\n\x00\xff")
    assert path.read_bytes() == b"\r\n\x00\xff"


def test_json_is_readable_utf8_without_bom(tmp_path):
    path = tmp_path / "facts.json"
    io.write_json(path, {"会社": "架空商事", "数": [1, 2]})
    data = path.read_bytes()
    assert not data.startswith(b"\xef\xbb\xbf")
    assert "架空商事".encode() in data
    assert data.endswith(b"}\n")
    assert io.read_json(path) == {"会社": "架空商事", "数": [1, 2]}


def test_json_with_a_bom_is_read(tmp_path):
    path = tmp_path / "bom.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert io.read_json(path) == {"a": 1}


@pytest.mark.parametrize("data", [b'{"a": ', '{"会": 1}'.encode("shift_jis"), b""])
def test_what_is_no_json_is_named(tmp_path, data):
    path = tmp_path / "wrong.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match="not a JSON document") as caught:
        io.read_json(path)
    assert caught.value.where == str(path)


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "無い.json"
    for read in (io.read_json, lambda file: list(io.read_jsonl(file))):
        with pytest.raises(DataError, match="file not found") as caught:
            read(path)
        assert caught.value.where == str(path)
    with pytest.raises(DataError, match="cannot read file") as caught:
        io.sha256_file(path)
    assert caught.value.where == str(path)


def test_lines_are_numbered_from_one_and_blank_ones_passed_over(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n   \n[2]\n"3"')
    assert list(io.read_jsonl(path)) == [(1, {"a": 1}), (4, [2]), (5, "3")]


def test_rows_round_trip_one_a_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "改行\nと\u2028区切り"}, {"text": "二"}]
    assert io.write_jsonl(path, iter(rows)) == 2
    assert path.read_bytes().count(b"\n") == 2
    assert [row for _, row in io.read_jsonl(path)] == rows


@pytest.mark.parametrize("line", [b'{"a": 1', '{"会": 1}'.encode("euc_jp"), b"plain words"])
def test_a_wrong_line_is_named_with_its_file_and_number(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    rows = io.read_jsonl(path)
    assert next(rows) == (1, {"a": 1})
    with pytest.raises(DataError, match="line is not JSON") as caught:
        next(rows)
    assert caught.value.where == f"{path}:2"
    assert caught.value.hint


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataError, match="found a folder"):
        list(io.read_jsonl(tmp_path))


def test_one_line_json_keeps_japanese_readable():
    text = io.dumps({"答え": "1998年", "n": [1, 2]})
    assert text == '{"答え": "1998年", "n": [1, 2]}'
    assert json.loads(text) == {"答え": "1998年", "n": [1, 2]}


def test_checksum_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * 1000)
    assert io.sha256_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()

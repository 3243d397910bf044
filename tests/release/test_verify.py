"""Checksums: a released folder that was changed on its way is found out, by file."""

from __future__ import annotations

from pathlib import Path

import pytest

from shikomi.errors import DataError
from shikomi.release.verify import check_checksums, write_checksums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "重み.bin").write_bytes(b"\0" * 1000)
    write_checksums(tmp_path)
    return tmp_path


def test_whole_files_pass(folder: Path) -> None:
    assert check_checksums(folder) == 2


def test_a_flipped_bit_is_found(folder: Path) -> None:
    (folder / "重み.bin").write_bytes(b"\0" * 999 + b"\1")
    with pytest.raises(DataError, match="is not the file that was released") as caught:
        check_checksums(folder)
    assert caught.value.where == str(folder / "重み.bin")


def test_a_missing_file_is_found(folder: Path) -> None:
    (folder / "a.json").unlink()
    with pytest.raises(DataError, match="cannot read file"):
        check_checksums(folder)


@pytest.mark.parametrize("line", ["abc", "0" * 64 + "  ../a.json", "0" * 64 + " a.json"])
def test_a_line_that_is_no_checksum_is_named(folder: Path, line: str) -> None:
    with open(folder / "SHA256SUMS", "a") as handle:
        handle.write(line + "\n")
    with pytest.raises(DataError, match="not a checksum") as caught:
        check_checksums(folder)
    assert caught.value.where.endswith("SHA256SUMS:3")


def test_a_list_that_is_missing_or_empty_is_no_proof(folder: Path) -> None:
    (folder / "SHA256SUMS").write_text("")
    with pytest.raises(DataError, match="is empty"):
        check_checksums(folder)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match="no readable checksums"):
        check_checksums(folder)

"""Sizes are read and written as people say them; a wrong one is refused with an example of a right one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shikomi import units


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (4000, 4000),
        (4000.0, 4000),
        ("4000", 4000),
        ("13_000", 13_000),
        ("4k", 4_000),
        ("4K", 4_000),
        ("2.5M", 2_500_000),
        ("2.01k", 2_010),
        (" 13B ", 13 * 10**9),
        ("13G", 13 * 10**9),
        ("1.2 T", 1_200 * 10**9),
        ("0", 0),
    ],
)
def test_counts(said, meant):
    found = units.parse_count(said)
    assert found == meant
    assert isinstance(found, int)


@pytest.mark.parametrize("wrong", ["", "13 Bn", "-4k", "4,000", "1e6", "k", True, None, [1], "４千", "1__0"])
def test_what_is_no_count_is_refused_with_an_example(wrong):
    with pytest.raises(ValueError, match=r'"4M"|"4k"'):
        units.parse_count(wrong)


@pytest.mark.parametrize("wrong", [1.5, "1.0005k", "0.5"])
def test_half_a_token_is_refused(wrong):
    with pytest.raises(ValueError, match="whole number"):
        units.parse_count(wrong)


@pytest.mark.parametrize(
    ("said", "seconds"), [("90s", 90.0), ("10min", 600.0), ("10m", 600.0), ("1.5h", 5400.0), ("2 d", 172_800.0)]
)
def test_durations(said, seconds):
    assert units.parse_seconds(said) == seconds


@pytest.mark.parametrize("wrong", [90, "90", "ten minutes", "10 weeks", "", None])
def test_a_duration_needs_its_unit(wrong):
    with pytest.raises(ValueError, match="90s"):
        units.parse_seconds(wrong)


@pytest.mark.parametrize(
    ("said", "size"), [(512, 512), ("512B", 512), ("300MB", 300 * 10**6), ("5GiB", 5 * 2**30), ("0.5KiB", 512)]
)
def test_bytes_decimal_and_binary(said, size):
    assert units.parse_bytes(said) == size


@pytest.mark.parametrize("wrong", [True, 1.5, "5", "5G", "5gb", None])
def test_what_is_no_size_is_refused(wrong):
    with pytest.raises(ValueError, match="300MB"):
        units.parse_bytes(wrong)


@pytest.mark.parametrize(("said", "yen"), [("¥480/h", 480.0), ("￥480.5 / h", 480.5)])
def test_prices_in_either_yen_sign(said, yen):
    assert units.parse_yen_per_hour(said) == yen


@pytest.mark.parametrize("wrong", ["480", "480/h", "$3/h", "¥480", 480])
def test_a_price_needs_yen_and_hour(wrong):
    with pytest.raises(ValueError, match="¥480/h"):
        units.parse_yen_per_hour(wrong)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (999, "999"),
        (0.5, "0.5"),
        (4096, "4.1k"),
        (999_499, "999k"),
        (999_999, "1M"),
        (3_412_000, "3.41M"),
        (13 * 10**9, "13B"),
        (10**12, "1T"),
        (3 * 10**15, "3000T"),
    ],
)
def test_counts_are_said_with_three_digits(value, said):
    assert units.format_count(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (12, "12 B"),
        (4_100, "4.1 kB"),
        (999_950, "1 MB"),
        (41_000_000, "41 MB"),
        (2_500_000_000, "2.5 GB"),
        (90 * 10**12, "90 TB"),
    ],
)
def test_sizes_are_said_in_decimal_units(value, said):
    assert units.format_bytes(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (4.2, "4.2 s"),
        (9.97, "10 s"),
        (42.4, "42 s"),
        (59.7, "1:00"),
        (75, "1:15"),
        (3599.6, "1:00:00"),
        (7300, "2:01:40"),
        (359_999, "99:59:59"),
        (540_000, "6.25 days"),
        (86_400_000, "2.74 years"),
    ],
)
def test_durations_are_said_as_a_clock(value, said):
    assert units.format_seconds(value) == said


@given(st.integers(min_value=0, max_value=10**5), st.sampled_from([("k", 10), ("M", 10**4), ("B", 10**7)]))
def test_a_decimal_count_is_exactly_its_multiple(hundredths, unit):
    letter, scale = unit
    assert units.parse_count(f"{hundredths // 100}.{hundredths % 100:02d}{letter}") == hundredths * scale


@given(st.integers(min_value=0, max_value=10**4), st.sampled_from(["", "k", "M", "B", "T"]))
def test_a_count_with_a_letter_is_exactly_its_multiple(number, letter):
    assert (
        units.parse_count(f"{number}{letter}")
        == number * {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}[letter]
    )


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("株式会社", 8), ("ｱｲｳ", 3), ("ＡＢ", 4), ("か\u3099", 2), ("ガ", 2), ("", 0), ("東京 1", 6)],
)
def test_japanese_takes_two_columns_and_marks_none(text, columns):
    assert units.width(text) == columns


@given(st.text(alphabet="a株ｱＡか 1", max_size=12))
def test_padding_reaches_the_column_and_keeps_the_text(text):
    left, right = units.pad(text, 24), units.pad(text, 24, right=True)
    assert units.width(left) == units.width(right) == 24
    assert left.startswith(text)
    assert right.endswith(text)


def test_padding_never_cuts():
    assert units.pad("株式会社", 3) == "株式会社"

"""Which lines of a page an extractor kept: its output laid along the page's visible lines, in order.

Lines are compared by their letters and digits in compatibility form, so that bullets, spaces, table rules and the way
lines are broken do not count. Whole lines are laid first, as the chain of greatest length that keeps the order (lines
that follow each other in both are preferred); what is left between them is compared character by character.
"""

from __future__ import annotations

import bisect
import itertools
import re
import unicodedata
from difflib import SequenceMatcher

_CUTS = re.compile(r"[\n\t|]+")
_OTHER = re.compile(r"[\W_]+")
_MAX_PLACES = 400
"""Places of one line in an output that are looked at; only lines of a character or two have more."""
_MIN_BLOCK = 4
"""Characters that have to agree in a row where a line is not there as a whole."""
_MAX_SQUARE = 4_000_000
"""Largest product of two lengths compared character by character."""
_AT_EDGE, _IN_A_ROW = 0.25, 0.5


def letters(text: str) -> str:
    """A text's letters and digits, in compatibility form and lower case."""
    return _OTHER.sub("", unicodedata.normalize("NFKC", text)).casefold()


def covered(lines: list[str], output: str) -> tuple[list[int], int]:
    """How many characters of each line an output has, and how many characters of the output are in no line.

    Args:
        lines: the page's visible lines.
        output: an extractor's text.

    Returns:
        Characters (letters and digits) found of each line; characters of the output found nowhere.
    """
    wanted = [letters(line) for line in lines]
    pieces = [piece for piece in map(letters, _CUTS.split(output)) if piece]
    text = "".join(pieces)
    edges = {0, *itertools.accumulate(map(len, pieces))}
    chain = _chain(wanted, text, edges)
    found = [0] * len(lines)
    for line, _ in chain:
        found[line] = len(wanted[line])
    last_line, last_end = -1, 0
    for line, start in [*chain, (len(lines), len(text))]:
        _between(wanted, found, range(last_line + 1, line), text[last_end:start])
        last_line, last_end = line, start + (len(wanted[line]) if line < len(lines) else 0)
    return found, len(text) - sum(found)


def _chain(wanted: list[str], text: str, edges: set[int]) -> list[tuple[int, int]]:
    """Whole lines of an output in order: (line, where it starts), the heaviest chain."""
    # Best chains by their end in the output, ends rising and weights rising with them.
    ends: list[int] = [0]
    best: list[tuple[float, int]] = [(0.0, -1)]  # weight, index into `steps`
    steps: list[tuple[int, int, int]] = []  # line, start, index of the step before
    before: dict[int, tuple[float, int]] = {}
    for line, piece in enumerate(wanted):
        if not piece:
            continue
        new: dict[int, tuple[float, int]] = {}
        start = text.find(piece)
        for _ in range(_MAX_PLACES):
            if start < 0:
                break
            end = start + len(piece)
            weight, step = best[bisect.bisect_right(ends, start) - 1]
            if start in before and before[start][0] + _IN_A_ROW >= weight:
                weight, step = before[start][0] + _IN_A_ROW, before[start][1]
            weight += len(piece) + _AT_EDGE * ((start in edges) + (end in edges))
            steps.append((line, start, step))
            new[end] = (weight, len(steps) - 1)
            start = text.find(piece, start + 1)
        for end, (weight, step) in new.items():
            _insert(ends, best, end, weight, step)
        before = new
    chain, step = [], best[-1][1]
    while step >= 0:
        line, start, step_before = steps[step]
        chain.append((line, start))
        step = step_before
    return chain[::-1]


def _insert(ends: list[int], best: list[tuple[float, int]], end: int, weight: float, step: int) -> None:
    place = bisect.bisect_right(ends, end)
    if best[place - 1][0] > weight:
        return
    if ends[place - 1] == end:
        best[place - 1] = (weight, step)
    else:
        ends.insert(place, end)
        best.insert(place, (weight, step))
        place += 1
    while place < len(ends) and best[place][0] <= weight:
        del ends[place], best[place]


def _between(wanted: list[str], found: list[int], lines: range, text: str) -> None:
    """Compare what is left between two whole lines; adds to ``found``."""
    left = "".join(wanted[line] for line in lines)
    if not left or not text or len(left) * len(text) > _MAX_SQUARE:
        return
    owners = [line for line in lines for _ in wanted[line]]
    for block in SequenceMatcher(None, left, text, autojunk=False).get_matching_blocks():
        if block.size >= _MIN_BLOCK:
            for place in range(block.a, block.a + block.size):
                found[owners[place]] += 1

"""NG words: how much of a document they are, found in one pass however many words there are.

The measure is Swallow corpus v1's: from the left, the longest word that starts at a character is taken and reading goes
on after it, so that words never overlap; ``ng_fraction`` is the characters of the words taken over the Japanese letters
of the text. Words match as they are written: no folding of case, width or kana.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

from shikomi.errors import DataError
from shikomi.recipe.words import WordsPage

COMMENT = "#"


class NgWords:
    """A set of words to be found in texts; pickles as its words.

    Attributes:
        words: distinct, in the order of their code points.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(sorted(set(words)))
        self._automaton = None

    def __reduce__(self):
        return (NgWords, (self.words,))

    def matches(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield ``(start, length)`` in characters of every word taken, from left to right.

        Time grows with the text and with the words found in it, not with the number of words looked for.
        """
        if not self.words:
            return
        if self._automaton is None:
            self._automaton = _automaton(self.words)
        # The automaton's own longest-match search passes over some words (measured: in 1.7 % of 60,000 random cases),
        # so all matches are taken and chosen from. They come by their ends: the longest with one start comes last.
        longest = {end - length + 1: length for end, length in self._automaton.iter(text)}
        after = 0
        for start in sorted(longest):
            if start >= after:
                after = start + longest[start]
                yield start, longest[start]

    def measure(self, text: str, japanese_letters: int) -> dict[str, float]:
        """``ng_letters``, the characters of NG words, and ``ng_fraction``, their share of ``japanese_letters``."""
        letters = sum(length for _, length in self.matches(text))
        return {"ng_letters": letters, "ng_fraction": letters / japanese_letters if japanese_letters else 0.0}


def why_dropped(ng_fraction: float, page: WordsPage) -> tuple[str, str] | None:
    """``(reason, detail)`` if the share of NG words reaches the page's threshold, else None."""
    if ng_fraction < page.max_fraction:
        return None
    return "ng_fraction", f"ng_fraction {ng_fraction:.3f} >= {page.max_fraction:.3f}"


def read_words(page: WordsPage, lists: Iterable[Path]) -> NgWords:
    """The words of all lists, and of Shikomi's own if the page says so.

    Raises:
        DataError: a list that cannot be read, is not UTF-8, or holds no word.
    """
    words = own_words() if page.own_list else []
    for path in lists:
        found = _lines(_read(path))
        if not found:
            raise DataError("word list holds no word", where=str(path), hint="one word a line; # starts a comment")
        words += found
    return NgWords(words)


def own_words() -> list[str]:
    """The words that come with Shikomi, in the order of their file."""
    return _lines(resources.files("shikomi.corpus.quality").joinpath("ng_words.txt").read_text(encoding="utf-8"))


def _lines(text: str) -> list[str]:
    stripped = (line.strip() for line in text.split("\n"))
    return [line for line in stripped if line and not line.startswith(COMMENT)]


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except IsADirectoryError as error:
        raise DataError(
            "expected a word list, found a folder", where=str(path), hint="name its files, for example folder/*.txt"
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot read word list: {error.strerror}", where=str(path), hint="check its name and folder"
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError("word list is not UTF-8", where=f"{path}:{line}", hint="save it as UTF-8") from error


def _automaton(words: tuple[str, ...]):
    import ahocorasick

    automaton = ahocorasick.Automaton(ahocorasick.STORE_LENGTH)
    for word in words:
        automaton.add_word(word)
    automaton.make_automaton()
    return automaton

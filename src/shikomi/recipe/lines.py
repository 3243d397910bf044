"""Where each key of a TOML text stands: the standard reader gives values only, and errors should name a line."""

from __future__ import annotations

import bisect
import json

Key = tuple[str | int, ...]
"""A path into a document: keys of tables, indices of arrays."""

_BARE_ENDS = ",]}#\n"


def key_lines(text: str) -> dict[Key, int]:
    """The line (from 1) on which each key, table header and array item of a well-formed TOML text begins.

    A key that is given in several places (a table opened by its children) has the first.
    """
    return _Scanner(text).run()


class _Scanner:
    """Walks over a text that the standard reader has accepted, so it need not judge, only find its way."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.breaks = [index for index, letter in enumerate(self.text) if letter == "\n"]
        self.found: dict[Key, int] = {}
        self.last_item: dict[Key, int] = {}

    def run(self) -> dict[Key, int]:
        table: Key = ()
        while self._skip():
            line = self._line()
            if self.text.startswith("[", self.at):
                table = self._header(line)
            else:
                self._pair(table)
        return self.found

    def _line(self) -> int:
        return bisect.bisect_left(self.breaks, self.at) + 1

    def _note(self, key: Key, line: int) -> None:
        self.found.setdefault(key, line)

    def _skip(self, also: str = "") -> bool:
        """Pass over white space, comments and the letters ``also``; whether anything is left."""
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif letter.isspace() or letter in also:
                self.at += 1
            else:
                return True
        return False

    def _header(self, line: int) -> Key:
        is_item = self.text.startswith("[[", self.at)
        self.at += 2 if is_item else 1
        parts = self._keys("]")
        self.at += 2 if is_item else 1
        path: Key = ()
        for part in parts[:-1]:
            path = self._within((*path, part))
            self._note(path, line)
        path = (*path, parts[-1])
        self._note(path, line)
        if is_item:
            self.last_item[path] = self.last_item.get(path, -1) + 1
        path = self._within(path)
        self._note(path, line)
        return path

    def _within(self, path: Key) -> Key:
        """An array of tables stands for its last item."""
        return (*path, self.last_item[path]) if path in self.last_item else path

    def _pair(self, table: Key) -> None:
        line = self._line()
        path = table
        for part in self._keys("="):
            path = (*path, part)
            self._note(path, line)
        self.at += 1
        self._value(path)

    def _keys(self, end: str) -> list[str]:
        """A dotted key up to (not with) the letter ``end``."""
        parts = []
        while self._skip(".") and self.text[self.at] != end:
            start = self.at
            if self.text[start] in "\"'":
                self._string()
                raw = self.text[start : self.at]
                parts.append(_unquoted(raw))
            else:
                while self.text[self.at] not in "." + end and not self.text[self.at].isspace():
                    self.at += 1
                parts.append(self.text[start : self.at])
        return parts

    def _value(self, path: Key) -> None:
        self._skip()
        letter = self.text[self.at]
        if letter in "\"'":
            self._string()
        elif letter == "[":
            self.at += 1
            index = 0
            while self._skip(",") and self.text[self.at] != "]":
                self._note((*path, index), self._line())
                self._value((*path, index))
                index += 1
            self.at += 1
        elif letter == "{":
            self.at += 1
            while self._skip(",") and self.text[self.at] != "}":
                self._pair(path)
            self.at += 1
        else:
            while self.at < len(self.text) and self.text[self.at] not in _BARE_ENDS:
                self.at += 1

    def _string(self) -> None:
        """Pass over a string of any of the four kinds."""
        quote = self.text[self.at]
        escapes = quote == '"'
        if self.text.startswith(quote * 3, self.at):
            self.at += 3
            while not self.text.startswith(quote * 3, self.at):
                self.at += 2 if escapes and self.text[self.at] == "\\" else 1
            while self.text.startswith(quote, self.at):  # up to two quotes may stand before the closing three
                self.at += 1
            return
        self.at += 1
        while self.text[self.at] != quote:
            self.at += 2 if escapes and self.text[self.at] == "\\" else 1
        self.at += 1


def _unquoted(raw: str) -> str:
    if raw.startswith("'"):
        return raw[1:-1]
    try:
        return json.loads(raw)
    except ValueError:  # TOML's \U escapes are not JSON's
        return raw[1:-1]

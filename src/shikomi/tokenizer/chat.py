"""The one chat template: the same turns as segments of ids with a loss mask, and as Jinja text for transformers.

A turn is ``head(role) + content + turn_end + "\\n"``. Which tokens stand for head and end is the tokenizer's matter:

==========  ============================================  ==================
frame       head                                          turn end
==========  ============================================  ==================
chatml      ``<|im_start|>role\\n``                        ``<|im_end|>``
headers     ``<|start_header_id|>role<|end_header_id|>``   ``<|eot_id|>``
plain       ``### role:\\n`` as ordinary text              the document's end
==========  ============================================  ==================

Ours are ``chatml``; the others are for open bases whose vocabulary has no ``<|im_start|>`` and must not grow.
Content loses white space at both ends: a head ends with a line feed, and every splitting rule parts a line feed from
what follows unless that is white space, so the ids before an answer never depend on the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
PAD = "<|pad|>"
RESERVED = tuple(f"<|reserved_{index}|>" for index in range(4))
"""Room for later uses (tools, citations) without a change of vocabulary size."""
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END, PAD, *RESERVED)


class Turn(Protocol):
    """Anything with a role and a content (``shikomi.data.dialogue.Message``)."""

    @property
    def role(self) -> str: ...

    @property
    def content(self) -> str: ...


@dataclass(frozen=True)
class Frame:
    """How one tokenizer writes turns.

    Attributes:
        name: ``chatml``, ``headers`` or ``plain``.
        before: token before the role, or ordinary text where ``special_head`` is False.
        after: what stands between the role and the content.
        turn_end: the token that ends a turn.
        start: token that starts every sequence (an open base's BOS), or empty.
        special_head: whether ``before`` is a token of its own.
        closing_token: token between role and content, or empty.
    """

    name: str
    before: str
    after: str
    turn_end: str
    start: str = ""
    special_head: bool = True
    closing_token: str = ""

    def head(self, role: str) -> list[tuple[str, bool]]:
        """The pieces before a turn's content: ``(text, whether it is a token of its own)``."""
        if self.closing_token:
            return [(self.before, True), (role, False), (self.closing_token, True), (self.after, False)]
        if self.special_head:
            return [(self.before, True), (role + self.after, False)]
        return [(self.before + role + self.after, False)]

    def segments(self, messages: Sequence[Turn]) -> list[tuple[str, bool, bool]]:
        """All pieces of a dialogue: ``(text, whether it is a token of its own, whether it is trained on)``.

        Trained on: every assistant content and the turn end after it, never the line feed behind.
        """
        pieces = [(self.start, True, False)] if self.start else []
        for message in messages:
            trained = message.role == "assistant"
            pieces += [(text, special, False) for text, special in self.head(message.role)]
            pieces.append((message.content.strip(), False, trained))
            pieces.append((self.turn_end, True, trained))
            pieces.append(("\n", False, False))
        return pieces

    def opening(self) -> list[tuple[str, bool, bool]]:
        """The pieces after which the model answers: exactly those before an assistant turn's first trained token."""
        return [(text, special, False) for text, special in self.head("assistant")]

    def jinja(self) -> str:
        """The template as Jinja text, as transformers, vLLM and llama.cpp read it."""
        close = self.closing_token

        def head(role: str) -> str:
            return f"{_quoted(self.before)} + {role} + {_quoted(close + self.after)}"

        turn = head("message['role']") + " + (message['content'] | trim) + " + _quoted(self.turn_end + "\n")
        lines = [
            "{%- for message in messages -%}",
            f"{{{{- {turn} -}}}}",
            "{%- endfor -%}",
            "{%- if add_generation_prompt -%}",
            f"{{{{- {head(_quoted('assistant'))} -}}}}",
            "{%- endif -%}",
        ]
        if self.start:
            lines.insert(0, f"{{{{- {_quoted(self.start)} -}}}}")
        return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


CHATML = Frame("chatml", before=TURN_START, after="\n", turn_end=TURN_END)


def frame_of(special_tokens: Sequence[str], end: str, start: str = "") -> Frame:
    """The frame that a vocabulary can write without growing.

    Args:
        special_tokens: the special tokens it has.
        end: its end-of-document token.
        start: its start-of-document token, or empty.
    """
    have = set(special_tokens)
    if {TURN_START, TURN_END} <= have:
        return Frame("chatml", before=TURN_START, after="\n", turn_end=TURN_END, start=start)
    if {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"} <= have:
        return Frame(
            "headers",
            before="<|start_header_id|>",
            closing_token="<|end_header_id|>",
            after="\n\n",
            turn_end="<|eot_id|>",
            start=start,
        )
    return Frame("plain", before="### ", after=":\n", turn_end=end, start=start, special_head=False)

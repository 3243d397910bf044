"""Dialogues, preferences and questions from files written elsewhere, split into training and test by prompt."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from shikomi.data.dialogue import Dialogue, Preference, Question, write_rows
from shikomi.data.eval_only import eval_only_prompt, refuse_eval_only, text_digest
from shikomi.data.forms import Row, read_rows
from shikomi.errors import DataError, RecipeError
from shikomi.io import atomic, dumps
from shikomi.log import Progress, silent
from shikomi.recipe.tune import DialoguesPage, SourcePage

MAX_DROPPED_SHARE = 0.5
MIN_DROPPED_ROWS = 20
"""A file that loses more than this share of its rows, and more than so many, is not what its form says (ours)."""

KINDS = {"preference": "preference", "squad": "squad"}
"""Forms that are not dialogues; lines of the dialogue forms may stand side by side in one source."""


@dataclass
class _Rows:
    """What the sources gave so far."""

    dialogues: list[Dialogue] = field(default_factory=list)
    heldout: list[Dialogue] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    verdicts: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    eval_only_prompts: Counter[str] = field(default_factory=Counter)


def write_sources(page: DialoguesPage, base_folder: Path, out: Path, *, progress: Progress = silent) -> dict:
    """Read ``page.sources`` and write ``dialogues.jsonl``, ``preferences.jsonl``, ``questions.jsonl``.

    Held out by the hash of the prompt (of a passage: its article) are ``page.test_share`` of them: passages become
    questions of task ``fact``, pairs questions of task ``preference``, other dialogues go to ``heldout.jsonl``.

    Returns:
        Facts: counts, licences, verdicts and repairs by name; ``mechanics_only`` if a pair's prompt belongs to an
        evaluation set: no model trained on it may be released.

    Raises:
        RecipeError: no source, or a path that finds no file.
        DataError: a file or a prompt that is for evaluation only, a line that is no dialogue, or a source of which
            most rows had to be dropped.
    """
    if not page.sources:
        raise RecipeError("there is no source of dialogues", where="dialogues.sources")
    files = [_find(source, index, base_folder) for index, source in enumerate(page.sources)]
    for path in (path for found in files for path in found):
        refuse_eval_only(path)
    rows = _Rows()
    done, total = 0, sum(map(len, files))
    for source, found in zip(page.sources, files, strict=True):
        left = source.limit or sys.maxsize
        for path in found:
            left -= _read_file(page, source, path, rows, left)
            done += 1
            progress(done, total, "files", path.name)
    if not (rows.dialogues or rows.preferences):
        raise DataError(
            "the sources leave nothing to train on",
            where="dialogues.sources",
            hint=f"verdicts: {_named(rows.verdicts)}",
        )
    _drop_both_ways(rows)
    return _write(rows, out)


def _find(source: SourcePage, index: int, base_folder: Path) -> list[Path]:
    """Files of a source, sorted by name; a source's own order never depends on the file system."""
    whole = base_folder / source.path
    if whole.is_file():
        return [whole]
    folder, pattern = _folder_and_pattern(base_folder, source.path)
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not found:
        raise RecipeError(
            f"no file matches {source.path}",
            where=f"dialogues.sources[{index}].path",
            hint=f"relative paths start at the recipe's folder, {base_folder}",
        )
    return found


def _folder_and_pattern(base_folder: Path, path: str) -> tuple[Path, str]:
    """A folder taken by its name, and the pattern below it (a recipe's folder may be called "a[b]")."""
    parts = Path(path).parts
    plain = 0
    while plain < len(parts) - 1 and not any(letter in parts[plain] for letter in "*?["):
        plain += 1
    return base_folder.joinpath(*parts[:plain]), "/".join(parts[plain:])


def _read_file(page: DialoguesPage, source: SourcePage, path: Path, rows: _Rows, limit: int) -> int:
    """Read at most ``limit`` rows of a file; returns how many were read."""
    taken = dropped = 0
    verdicts: Counter[str] = Counter()
    for row in islice(read_rows(path), limit):
        taken += 1
        if KINDS.get(row.form, "dialogue") != KINDS.get(source.form, "dialogue"):
            raise DataError(
                f'line has the form "{row.form}", the recipe says "{source.form}"',
                where=row.where,
                hint="name the form it has; a source holds dialogues, pairs, or questions about passages",
            )
        rows.forms[row.form] += 1
        rows.repairs.update(row.repairs)
        verdict = row.verdict or _take(page, source, path.name, row, rows)
        if verdict:
            verdicts[verdict] += 1
            dropped += verdict != "copy"
    rows.verdicts.update(verdicts)
    if taken == 0 and limit:
        raise DataError("the file holds no row", where=str(path), hint="fill it, or take it out of dialogues.sources")
    if dropped > max(MIN_DROPPED_ROWS, MAX_DROPPED_SHARE * taken):
        raise DataError(
            f"{dropped} of {taken} rows had to be dropped: {_named(verdicts)}",
            where=str(path),
            hint="the file is not what its readers expect; mend it or leave it out",
        )
    return taken


def _named(verdicts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in verdicts.most_common()) or "none"


def _take(page: DialoguesPage, source: SourcePage, name: str, row: Row, rows: _Rows) -> str:
    """File one row where it belongs; returns the verdict, empty if it was taken."""
    identity = text_digest(dumps([asdict(turn) for turn in row.messages] + [row.chosen, row.rejected]))
    if identity in rows.seen:
        return "copy"
    rows.seen.add(identity)
    _look_out_for_eval_only(row, rows)
    test = is_test(row.title or row.first_user_turn, page.seed, page.test_share)
    rows.licences[source.licence] += 1
    common = {"id": identity, "source": name, "licence": source.licence}
    if row.form == "preference":
        if test:
            rows.questions.append(_preference_question(row, identity))
        else:
            rows.preferences.append(Preference(prompt=row.messages, chosen=row.chosen, rejected=row.rejected, **common))
        return ""
    if row.form == "squad" and test:
        answers = {"answers": list(row.answers)}
        rows.questions.append(
            Question(
                identity, row.messages[0].content, row.answers[0], subject=_subject(row), form="squad", extra=answers
            )
        )
        return ""
    dialogue = Dialogue(
        messages=row.messages,
        task="qa" if row.form == "squad" else "chat",
        subject=_subject(row) if row.form == "squad" else "",
        **common,
    )
    (rows.heldout if test else rows.dialogues).append(dialogue)
    return ""


def is_test(prompt: str, seed: int, share: float) -> bool:
    """Whether a prompt is held out: a keyed hash of its text (NFKC, white space left out) lies below the share."""
    digest = hashlib.blake2b(text_digest(prompt).encode(), digest_size=6, key=f"prompt {seed}".encode()).digest()
    return int.from_bytes(digest, "big") / 2**48 < share


def _subject(row: Row) -> str:
    """What intervals are resampled by: the article, by its title or, without one, by a hash of the passage."""
    return row.title if len(row.title) <= 40 else text_digest(row.title)


def _preference_question(row: Row, identity: str) -> Question:
    return Question(
        identity,
        row.messages[-1].content,
        row.chosen,
        task="preference",
        subject=text_digest(row.first_user_turn),
        form="preference",
        extra={
            "chosen": row.chosen,
            "rejected": row.rejected,
            "prompt": [asdict(turn) for turn in row.messages],
        },
    )


def _look_out_for_eval_only(row: Row, rows: _Rows) -> None:
    """Refuse a dialogue on an evaluation set's prompt; count a pair on one, which may serve to try the mechanics."""
    found = next(filter(None, (eval_only_prompt(turn.content) for turn in row.messages if turn.role == "user")), "")
    if not found:
        return
    if row.form != "preference":
        raise DataError(
            f"the prompt belongs to {found}, which is for evaluation only",
            where=row.where,
            hint="take the row out of the training sources",
        )
    rows.eval_only_prompts[found] += 1


def _drop_both_ways(rows: _Rows) -> None:
    """Drop pairs that occur both ways round: they say nothing."""
    pairs = {(pair.prompt, pair.chosen, pair.rejected) for pair in rows.preferences}
    kept = [pair for pair in rows.preferences if (pair.prompt, pair.rejected, pair.chosen) not in pairs]
    asked = {(row.question, row.extra.get("chosen"), row.extra.get("rejected")) for row in rows.questions}
    questions = [
        row
        for row in rows.questions
        if (row.question, row.extra.get("rejected"), row.extra.get("chosen")) not in asked or row.task != "preference"
    ]
    rows.verdicts["both_ways"] += len(rows.preferences) - len(kept) + len(rows.questions) - len(questions)
    rows.preferences, rows.questions = kept, questions


def _write(rows: _Rows, out: Path) -> dict:
    facts = {
        "dialogues": write_rows(out / "dialogues.jsonl", rows.dialogues),
        "heldout_dialogues": write_rows(out / "heldout.jsonl", rows.heldout),
        "preferences": write_rows(out / "preferences.jsonl", rows.preferences),
        "questions": write_rows(out / "questions.jsonl", rows.questions),
        "licences": dict(sorted(rows.licences.items())),
        "forms": dict(sorted(rows.forms.items())),
        "verdicts": {name: count for name, count in sorted(rows.verdicts.items()) if count},
        "repairs": dict(sorted(rows.repairs.items())),
        "synthetic": False,
        "mechanics_only": bool(rows.eval_only_prompts),
        "eval_only_prompts": dict(sorted(rows.eval_only_prompts.items())),
    }
    with atomic(out / "README.txt") as handle:
        handle.write(_readme(facts))
    return facts


def _readme(facts: dict) -> str:
    lines = [
        "Dialogues, preferences and questions read from outside files, split by the hash of the prompt.",
        "外部ファイルから読んだ対話・選好・質問です。プロンプトのハッシュで学習用と評価用に分けています。",
        "",
        f"dialogues.jsonl    {facts['dialogues']} for training",
        f"heldout.jsonl      {facts['heldout_dialogues']} held out",
        f"preferences.jsonl  {facts['preferences']} pairs for training",
        f"questions.jsonl    {facts['questions']} held-out questions with gold answers or pairs",
        "",
        *(f"licence {name}: {count} rows" for name, count in facts["licences"].items()),
        *(f"dropped, {name}: {count}" for name, count in facts["verdicts"].items()),
        *(f"mended, {name}: {count}" for name, count in facts["repairs"].items()),
    ]
    if facts["mechanics_only"]:
        lines += [
            "",
            "Pairs here use prompts of an evaluation set: they serve to try the mechanics only.",
            "A model trained on them must not be released, nor scored on that set.",
            "評価専用のプロンプトを含みます。これで学習したモデルは公開できません。",
        ]
    return "\n".join(lines) + "\n"

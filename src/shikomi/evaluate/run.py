"""The evaluation: the same questions, the same held-out text and the same resamples for every model of a build."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shikomi.errors import DataError
from shikomi.evaluate import score
from shikomi.evaluate.answers import Memory, Result, examine, heldout_documents, work_of
from shikomi.evaluate.chats import hold_chats, plan_chats, three_answers
from shikomi.evaluate.examinee import Examinee, LoadedModel
from shikomi.evaluate.tally import Tally
from shikomi.evaluate.task import Item, Rules, grade, load_items, subjects_in_training
from shikomi.io import read_json, write_json, write_jsonl
from shikomi.log import Progress, silent
from shikomi.recipe.evaluate import EvaluatePage

FORMAT = 1


def evaluate(
    page: EvaluatePage,
    models: dict[str, Path],
    dialogues: Path,
    tokens: Path,
    out: Path,
    *,
    progress: Progress = silent,
    normalise: Callable[[str], str] = score.plain_value,
    follows_rule: Callable[[str], bool] = score.polite_sentence,
    open_model: Callable[[Path], Examinee] = LoadedModel.open,
) -> dict[str, Any]:
    """Ask every model everything; writes ``scores.json`` and ``answers.jsonl`` into ``out``.

    A run that was cut off goes on after its last finished block of questions and writes the same bytes.

    Args:
        models: model folders by name, in the order of training: the first is the base, the last the final model.
        dialogues: folder with ``questions.jsonl`` (and the dialogues trained on, to see that they are disjoint).
        tokens: folder of tokens with a held-out split.
        normalise: gives the value that an answer states.
        follows_rule: tells whether an answer has the preferred style.
        open_model: loads a model folder.

    Returns:
        Facts: the headline numbers, counts of questions, held-out bytes.

    Raises:
        DataError: unusable questions, tokens of another vocabulary than a model's, or a damaged model folder.
    """
    rules = Rules(normalise, follows_rule)
    items = load_items(dialogues / "questions.jsonl", page.questions, page.seed)
    heldout = heldout_documents(tokens, page.bits_tokens, page.seed)
    work, done = work_of(items, heldout), 0
    results: dict[str, Result] = {}
    for number, (name, folder) in enumerate(models.items()):
        memory = Memory(out / "scratch" / f"{name}.jsonl")
        done = number * work

        def told(count: int, name: str = name) -> None:
            nonlocal done
            done += count
            progress(done, work * len(models), "items", name)

        progress(done, work * len(models), "items", name)
        opener = _opener(open_model, folder, tokens)
        results[name] = examine(opener, items, heldout, page, rules, memory, told)
    final = list(models)[-1]
    chats = _chats(page, items, dialogues, lambda: open_model(models[final]), rules, out)
    tally = Tally(items, results, page, rules)
    scores = _scores(page, tally, items, results, chats, subjects_in_training(items, dialogues))
    write_jsonl(out / "answers.jsonl", _answer_rows(items, results))
    write_json(out / "scores.json", scores)
    headline = {name: value for name, value in scores["headline"].items() if not isinstance(value, list)}
    return headline | {
        "questions": len(items),
        "heldout_bytes": sum(results[final].bytes),
        "subjects_in_training": scores["subjects_in_training"],
        "prompts_cut": scores["prompts_cut"],
    }


def _opener(open_model: Callable[[Path], Examinee], folder: Path, tokens: Path) -> Callable[[], Examinee]:
    def opened() -> Examinee:
        model = open_model(folder)
        vocab_size = read_json(tokens / "index.json")["vocab_size"]
        if model.vocab_size < vocab_size:
            raise DataError(
                f"held-out tokens have a vocabulary of {vocab_size}, the model one of {model.vocab_size}",
                where=str(folder),
                hint="score a model on tokens of its own tokenizer",
            )
        return model

    return opened


def _chats(
    page: EvaluatePage,
    items: Sequence[Item],
    dialogues: Path,
    open_final: Callable[[], Examinee],
    rules: Rules,
    out: Path,
) -> list[dict[str, Any]]:
    plans = plan_chats(items, dialogues, page.seed)
    memory = Memory(out / "scratch" / "chats.jsonl")
    rows = hold_chats(plans, open_final(), page.max_answer_tokens, memory) if plans else []
    for plan, row in zip(plans, rows, strict=True):
        row["right"] = _right(plan.item, row["messages"][-1]["content"], rules) if plan.item else None
    return rows


def _right(item: Item, answer: str, rules: Rules) -> bool:
    marks = grade(item, answer, False, rules)
    if item.task == "extract":
        return marks["found"] == marks["wanted"] == marks["given"]
    return bool(marks["right"])


def _scores(
    page: EvaluatePage,
    tally: Tally,
    items: Sequence[Item],
    results: dict[str, Result],
    chats: list[dict[str, Any]],
    shared_subjects: int,
) -> dict[str, Any]:
    order = list(results)
    models, shuffled, most_frequent = tally.models(), tally.shuffled(), tally.most_frequent()
    return {
        "format": FORMAT,
        "order": order,
        "headline": headline(order, models, most_frequent, shuffled),
        "metrics": tally.names(),
        "models": models,
        "baselines": {"most_frequent": most_frequent, "shuffled": shuffled},
        "differences": tally.differences(),
        "by_field": tally.by_field(),
        "answers": three_answers(items, results[order[-1]], page.seed),
        "chats": chats,
        "subjects_in_training": shared_subjects,
        "prompts_cut": sum(result.prompts_cut for result in results.values()),
        "resamples": page.resamples,
        "seed": page.seed,
    }


def headline(
    order: Sequence[str],
    models: dict[str, dict[str, dict[str, Any]]],
    most_frequent: dict[str, dict[str, Any]],
    shuffled: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """The numbers that ``shikomi eval`` prints first; None where a recipe has no such questions."""
    base, final = models[order[0]], models[order[-1]]
    before_last = models[order[-2]] if len(order) > 1 else final
    facts = "facts" in final
    seen = final.get("facts_seen" if facts else "reading")
    unseen = final.get("facts_unseen")
    sizes = [found["n"] for found in (seen, unseen) if found]

    def value(row: dict[str, dict[str, Any]], key: str) -> float | None:
        return row[key]["value"] if key in row else None

    def ends(found: dict[str, Any] | None) -> list[float | None] | None:
        return [found["low"], found["high"]] if found else None

    return {
        "seen_forms": seen["value"] if seen else None,
        "unseen_forms": unseen["value"] if unseen else None,
        "n": min(sizes, default=0),
        "n_seen_forms": seen["n"] if seen else 0,
        "n_unseen_forms": unseen["n"] if unseen else 0,
        "seen_forms_interval": ends(seen),
        "unseen_forms_interval": ends(unseen),
        "base": value(base, "facts" if facts else "reading"),
        "most_frequent": value(most_frequent, "facts"),
        "shuffled": value(shuffled, order[-1]),
        "bits_per_byte": value(final, "bits_per_byte"),
        "bits_per_byte_base": value(base, "bits_per_byte"),
        "tuned_seen_forms": value(final, "tuned_seen"),
        "tuned_unseen_forms": value(final, "tuned_unseen"),
        "extraction_f1": value(final, "extract_f1"),
        "preference": value(final, "preference" if "preference" in final else "pairs_sum"),
        "preference_sft": value(before_last, "preference" if "preference" in before_last else "pairs_sum"),
    }


def _answer_rows(items: Sequence[Item], results: dict[str, Result]) -> list[dict[str, Any]]:
    rows = []
    for item in items:
        row = item.row
        rows.append(
            {
                "id": row.id,
                "task": item.task,
                "split": row.split,
                "subject": row.subject,
                "field": row.field,
                "form": row.form,
                "seen_form": row.seen_form,
                "question": row.question,
                "gold": list(item.gold),
                "answers": {
                    name: result.answers[row.id] for name, result in results.items() if row.id in result.answers
                },
                "grades": {name: result.grades[row.id] for name, result in results.items()},
            }
        )
    return rows

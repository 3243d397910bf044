"""Outside sources: split by prompt, refused where they are for evaluation only, counted in the facts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shikomi.data import eval_only
from shikomi.data.dialogue import read_dialogues, read_preferences, read_questions
from shikomi.errors import DataError, RecipeError
from shikomi.recipe.tune import DialoguesPage, SourcePage
from shikomi.tune.sources import is_test, write_sources


def write(path: Path, rows: list) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def page(*sources: tuple[str, str], share: float = 0.3, limit: int = 0, seed: int = 11) -> DialoguesPage:
    found = [SourcePage(path=path, form=form, licence="MIT", limit=limit) for path, form in sources]  # type: ignore[arg-type]
    return DialoguesPage(sources=found, test_share=share, seed=seed)


def run(made: DialoguesPage, folder: Path) -> tuple[dict, Path]:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return write_sources(made, folder, out), out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe's folder, Japanese and with spaces and brackets, with one file of each kind."""
    folder = tmp_path / "レシピ [1] の 場所"
    (folder / "資料").mkdir(parents=True)
    write(folder / "資料" / "talk-1.jsonl", [{"prompt": f"質問{i}", "completion": f"答え{i}"} for i in range(60)])
    write(folder / "資料" / "talk-2.jsonl", [{"instruction": f"依頼{i}", "output": f"結果{i}"} for i in range(40)])
    pairs = [{"prompt": f"質問{i % 30}", "chosen": f"良{i}", "rejected": f"悪{i}"} for i in range(90)]
    write(folder / "資料" / "pairs.jsonl", pairs)
    articles = [
        {
            "title": f"会社{i}",
            "paragraphs": [
                {
                    "context": f"会社{i}の部署{j}は{1900 + i}年に始まった。",
                    "qas": [{"question": "いつ？", "answers": [{"text": f"{1900 + i}年"}]}],
                }
                for j in range(3)
            ],
        }
        for i in range(40)
    ]
    (folder / "資料" / "squad.json").write_text(json.dumps({"data": articles}, ensure_ascii=False), encoding="utf-8")
    return folder


ALL = (("資料/talk-*.jsonl", "messages"), ("資料/pairs.jsonl", "preference"), ("資料/squad.json", "squad"))


def test_rows_go_to_training_or_test_and_none_is_lost(folder: Path) -> None:
    facts, out = run(page(*ALL), folder)
    dialogues = list(read_dialogues(out / "dialogues.jsonl"))
    heldout = list(read_dialogues(out / "heldout.jsonl"))
    pairs = list(read_preferences(out / "preferences.jsonl"))
    questions = list(read_questions(out / "questions.jsonl"))
    assert len(dialogues) + len(heldout) + len(pairs) + len(questions) == 60 + 40 + 90 + 120
    assert facts["dialogues"] == len(dialogues)
    assert facts["questions"] == len(questions)
    assert facts["licences"] == {"MIT": 310}
    assert facts["forms"] == {"alpaca": 40, "preference": 90, "prompt-completion": 60, "squad": 120}
    assert not facts["mechanics_only"]
    assert min(len(dialogues), len(heldout), len(pairs)) > 10
    assert {row.source for row in dialogues} == {"talk-1.jsonl", "talk-2.jsonl", "squad.json"}
    ids = [row.id for row in (*dialogues, *heldout, *pairs, *questions)]
    assert len(set(ids)) == len(ids)


def test_one_prompt_is_never_on_both_sides(folder: Path) -> None:
    _, out = run(page(*ALL), folder)
    dialogues = {row.messages[0].content for row in read_dialogues(out / "dialogues.jsonl")}
    trained = dialogues | {row.prompt[0].content for row in read_preferences(out / "preferences.jsonl")}
    tested = {row.messages[0].content for row in read_dialogues(out / "heldout.jsonl")}
    tested |= {row.question for row in read_questions(out / "questions.jsonl")}
    assert tested
    assert not trained & tested


def test_passages_are_split_by_article(folder: Path) -> None:
    _, out = run(page(ALL[2]), folder)
    trained = {row.subject for row in read_dialogues(out / "dialogues.jsonl")}
    questions = list(read_questions(out / "questions.jsonl"))
    assert not trained & {row.subject for row in questions}
    assert all((row.task, row.split, row.extra) == ("fact", "eval", {"answers": [row.answer]}) for row in questions)
    assert len(questions) == 3 * len({row.subject for row in questions}) > 0


def test_held_out_pairs_become_questions_with_both_answers(folder: Path) -> None:
    _, out = run(page(ALL[1]), folder)
    questions = list(read_questions(out / "questions.jsonl"))
    assert {row.task for row in questions} == {"preference"}
    for row in questions:
        assert (row.extra["chosen"][0], row.extra["rejected"][0]) == ("良", "悪")
        assert row.answer == row.extra["chosen"]
        assert row.extra["prompt"] == [{"role": "user", "content": row.question}]


def test_the_split_is_drawn_from_the_prompt_and_the_seed_alone(folder: Path) -> None:
    _, out = run(page(ALL[0]), folder)
    before = {row.id for row in read_dialogues(out / "heldout.jsonl")}
    lines = (folder / "資料" / "talk-1.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "資料" / "talk-1.jsonl").write_text("\n".join(lines[::-1]), encoding="utf-8")
    _, out = run(page(ALL[0]), folder)
    assert {row.id for row in read_dialogues(out / "heldout.jsonl")} == before
    _, out = run(page(ALL[0], seed=12), folder)
    assert {row.id for row in read_dialogues(out / "heldout.jsonl")} != before


def test_the_share_is_met() -> None:
    found = sum(is_test(f"質問{index}", 3, 0.1) for index in range(10_000))
    assert 900 < found < 1100
    assert is_test("質 問？", 3, 0.5) == is_test("質問?", 3, 0.5)


def test_two_runs_give_the_same_bytes(folder: Path) -> None:
    _, out = run(page(*ALL), folder)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    _, out = run(page(*ALL), folder)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    assert set(first) == {"dialogues.jsonl", "heldout.jsonl", "preferences.jsonl", "questions.jsonl", "README.txt"}


def test_limit_counts_rows_of_a_source_over_its_files(folder: Path) -> None:
    facts, _ = run(page(ALL[0], limit=70), folder)
    assert facts["forms"] == {"alpaca": 10, "prompt-completion": 60}
    facts, _ = run(page(ALL[0], limit=30), folder)
    assert facts["forms"] == {"prompt-completion": 30}


def test_copies_and_pairs_both_ways_are_dropped_and_counted(folder: Path) -> None:
    rows = [{"prompt": f"p{i}", "chosen": "a", "rejected": "b"} for i in range(30)]
    rows += [rows[0], rows[0], {"prompt": "p1", "chosen": "b", "rejected": "a"}]
    write(folder / "資料" / "pairs.jsonl", rows)
    facts, out = run(page(ALL[1]), folder)
    assert facts["verdicts"] == {"both_ways": 2, "copy": 2}
    assert facts["preferences"] + facts["questions"] == 29
    assert "dropped, both_ways: 2" in (out / "README.txt").read_text(encoding="utf-8")


def test_a_path_that_finds_nothing_is_a_recipe_error(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"no file matches 資料/x\*") as caught:
        run(page(ALL[1], ("資料/x*.jsonl", "messages")), folder)
    assert caught.value.where == "dialogues.sources[1].path"
    assert str(folder) in caught.value.hint


def test_no_source_is_a_recipe_error(folder: Path) -> None:
    with pytest.raises(RecipeError, match="no source"):
        run(page(), folder)


def test_an_absolute_path_and_one_from_the_parent_are_found(folder: Path) -> None:
    facts, _ = run(page((str(folder / "資料" / "talk-1.jsonl"), "messages")), folder)
    assert facts["forms"] == {"prompt-completion": 60}
    out = folder / "out2"
    out.mkdir()
    facts = write_sources(page(("../資料/talk-*.jsonl", "messages")), folder / "out", out)
    assert facts["forms"] == {"alpaca": 40, "prompt-completion": 60}


def test_another_kind_than_the_recipe_says_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match='form "preference", the recipe says "messages"') as caught:
        run(page(("資料/pairs.jsonl", "messages")), folder)
    assert caught.value.where.endswith("pairs.jsonl:1")


def test_a_line_that_is_no_dialogue_stops_with_file_and_line(folder: Path) -> None:
    path = folder / "資料" / "talk-1.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"タイトル": "x"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line is not a dialogue") as caught:
        run(page(ALL[0]), folder)
    assert caught.value.where == f"{path}:61"
    assert not (folder / "out" / "dialogues.jsonl").exists()


def test_a_file_that_loses_most_rows_stops(folder: Path) -> None:
    rows = [{"prompt": f"質問{i}", "completion": "" if i % 4 else "答え"} for i in range(60)]
    write(folder / "資料" / "talk-1.jsonl", rows)
    with pytest.raises(DataError, match="45 of 60 rows had to be dropped: blank_turn 45"):
        run(page(ALL[0]), folder)


def test_sources_that_leave_nothing_stop(folder: Path) -> None:
    write(folder / "資料" / "talk-1.jsonl", [{"prompt": "質問", "completion": " "}])
    with pytest.raises(DataError, match="leave nothing to train on") as caught:
        run(page(("資料/talk-1.jsonl", "messages")), folder)
    assert "blank_turn 1" in caught.value.hint


def test_an_empty_file_is_named(folder: Path) -> None:
    (folder / "資料" / "talk-2.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no row"):
        run(page(ALL[0]), folder)


@pytest.fixture
def known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation set of our own: the first questions of ``talk-1.jsonl``."""
    path = folder / "bench.jsonl"
    write(path, [{"question_id": i, "turns": [f"質問{i}"]} for i in range(5)])
    made = eval_only.make_table({"our-bench": path}, {"our-bench": path})
    monkeypatch.setattr(eval_only, "table", lambda: made)


def test_an_evaluation_file_is_refused(folder: Path, known: None) -> None:
    with pytest.raises(DataError, match="our-bench is for evaluation only"):
        run(page(("bench.jsonl", "messages")), folder)


def test_a_dialogue_on_an_evaluation_prompt_is_refused(folder: Path, known: None) -> None:
    with pytest.raises(DataError, match="the prompt belongs to our-bench") as caught:
        run(page(ALL[0]), folder)
    assert caught.value.where.endswith("talk-1.jsonl:1")


def test_pairs_on_evaluation_prompts_serve_mechanics_only(folder: Path, known: None) -> None:
    facts, out = run(page(ALL[1]), folder)
    assert facts["mechanics_only"]
    assert facts["eval_only_prompts"] == {"our-bench": 15}
    assert "must not be released" in (out / "README.txt").read_text(encoding="utf-8")


def test_progress_is_told_per_file(folder: Path) -> None:
    told: list = []
    (folder / "out").mkdir()
    write_sources(page(*ALL), folder, folder / "out", progress=lambda *seen: told.append(seen))
    assert [seen[:2] for seen in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.real
def test_real_sources_are_read(real_data: Path, tmp_path: Path) -> None:
    made = page(
        (str(real_data / "instruct" / "megagonlabs_instruction_ja.jsonl"), "utterances"),
        (str(real_data / "nlu" / "JaQuAD" / "jaquad_train_*.json"), "squad"),
        (str(real_data / "preference" / "pairs-ja.jsonl"), "preference"),
        share=0.1,
    )
    facts, out = run(made, tmp_path)
    assert facts["forms"] == {"preference": 296, "squad": 5093, "utterances": 669}
    assert facts["mechanics_only"]
    tested = {row.question for row in read_questions(out / "questions.jsonl") if row.task == "preference"}
    assert not tested & {row.prompt[-1].content for row in read_preferences(out / "preferences.jsonl")}
    for name in (
        "nlu/JaQuAD/jaquad_dev_0000.json",
        "instruct/rakuda_v1_questions.jsonl",
        "nlu/JGLUE/jsquad-valid-v1.3.json",
    ):
        with pytest.raises(DataError, match="evaluation only"):
            run(page((str(real_data / name), "squad")), tmp_path)

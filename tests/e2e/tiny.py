"""The tiny recipe: every stage real, in seconds. Its name is Japanese and has a space in it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.command import STAGES, Ended, stage_folders

NAME = "小さな 試作"

RECIPE = f"""
name = "{NAME}"

[sample]
companies = 8
eval_companies = 3
articles_per_company = 4

[corpus]
licence = "synthetic"

[tokenizer]
vocab_size = 400

[model]
hidden_size = 32
layers = 1
heads = 2
kv_heads = 1
head_dim = 16
intermediate_size = 32
max_tokens = 256

[pretrain]
tokens = 1536
batch_tokens = 128
sequence_tokens = 64
checkpoint_steps = 3

[dialogues]
forms_per_field = 4
dialogues_per_fact = 2

[anneal]
tokens = 1536
batch_tokens = 128
sequence_tokens = 64
checkpoint_steps = 3

[sft]
tokens = 1536
batch_tokens = 128
sequence_tokens = 64
checkpoint_steps = 3

[dpo]
pairs = 24
batch_pairs = 2
checkpoint_steps = 3

[evaluate]
questions = 2
bits_tokens = 256
max_answer_tokens = 8
resamples = 100
"""


@dataclass(frozen=True)
class TinyBuild:
    """The tiny recipe, built: its file, its store, and how the command ended. Not to be changed by a test."""

    recipe: Path
    store: Path
    ended: Ended

    @property
    def folders(self) -> dict[str, Path]:
        """The finished folder of each stage."""
        return stage_folders(self.store)

    def copy(self, store: Path, *, before: str = "", only: tuple[str, ...] = ()) -> Path:
        """A store that holds the same finished stages: those ``before`` a stage, or ``only`` some; returns it."""
        wanted = only or STAGES[: STAGES.index(before) if before else len(STAGES)]
        for stage, folder in self.folders.items():
            if stage in wanted:
                shutil.copytree(folder, store / stage / folder.name)
        return store


def write_recipe(folder: Path, name: str = "tiny.toml") -> Path:
    """Write the tiny recipe into a folder; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(RECIPE, encoding="utf-8")
    return path

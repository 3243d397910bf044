"""TRL at its cheapest settings: ``sft`` with SFTTrainer or ``dpo`` with DPOTrainer, in step with ``pace``.

No gradient checkpointing, no packing (every row is full), reference log-probs computed once before the first step.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from llama import Pacer, llama
from pace import Pace, Shape, Stop, shape

DISTINCT = 64
"""Rows or pairs of the data set, seen again and again."""


def words(ids: Any) -> str:
    """Token ids as the text that the tokenizer turns into them."""
    return " ".join(f"t{number}" for number in ids)


def tokenizer_of(wanted: Shape) -> PreTrainedTokenizerFast:
    """One word a token; 0 pads, 1 ends."""
    vocab = {"<pad>": 0, "<end>": 1, "<unk>": 2, **{f"t{number}": number for number in range(3, wanted.vocab)}}
    made = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")


def shared_settings(folder: str, rows: int) -> dict[str, Any]:
    """What both trainers are given."""
    return {
        "output_dir": folder, "per_device_train_batch_size": rows, "max_steps": 90_000, "bf16": "--bf16" in sys.argv,
        "use_cpu": True, "optim": "adamw_torch_fused", "learning_rate": 3e-4, "adam_beta2": 0.95, "weight_decay": 0.1,
        "max_grad_norm": 1.0, "lr_scheduler_type": "constant", "logging_strategy": "no", "save_strategy": "no",
        "report_to": "none", "dataloader_pin_memory": False, "disable_tqdm": True, "gradient_checkpointing": False,
        "max_length": None,
    }  # fmt: skip


def sft(wanted: Shape, pace: Pace, folder: str) -> SFTTrainer:
    """Rows of a prompt and an answer; only the answer is learned from."""
    rows = [
        window[: wanted.tokens].tolist() for step in range(DISTINCT // wanted.rows) for window in wanted.windows(step)
    ]
    mask = [0] * wanted.prompt + [1] * (wanted.tokens - wanted.prompt)
    data = Dataset.from_dict({"input_ids": rows, "completion_mask": [mask] * len(rows)})
    settings = SFTConfig(**shared_settings(folder, wanted.rows), packing=False, completion_only_loss=True)
    return SFTTrainer(
        llama(wanted, pad_token_id=0, eos_token_id=1),
        settings,
        train_dataset=data,
        processing_class=tokenizer_of(wanted),
        callbacks=[Pacer(pace)],
    )


def dpo(wanted: Shape, pace: Pace, folder: str) -> DPOTrainer:
    """Pairs with a reference that is run once."""
    names = ("prompt", "chosen", "rejected")
    data = Dataset.from_list(
        [dict(zip(names, map(words, wanted.pair(number)), strict=True)) for number in range(DISTINCT)]
    )
    data = data.map(lambda row: {"chosen": " " + row["chosen"], "rejected": " " + row["rejected"]})
    settings = DPOConfig(**shared_settings(folder, wanted.pairs), precompute_ref_log_probs=True, beta=0.1)
    return DPOTrainer(
        llama(wanted, pad_token_id=0, eos_token_id=1), None, settings, train_dataset=data,
        processing_class=tokenizer_of(wanted), callbacks=[Pacer(pace)],
    )  # fmt: skip


def main() -> None:
    """Train until told to stop."""
    pace, wanted = Pace(), shape()
    torch.set_num_threads(int(sys.argv[sys.argv.index("--threads") + 1]))
    with tempfile.TemporaryDirectory() as folder:
        trainer = (sft if "sft" in sys.argv else dpo)(wanted, pace, folder)
        try:
            trainer.train()
        except Stop:
            names = ("trl", "transformers", "torch", "numpy")
            pace.say({"versions": {name: importlib.metadata.version(name) for name in names}})


if __name__ == "__main__":
    main()

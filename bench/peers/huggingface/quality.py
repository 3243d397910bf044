"""Hugging Face Trainer over given windows of tokens: AdamW, cosine, a Llama of the given shape; saves the model.

    python quality.py SETTINGS.json --threads 2

``SETTINGS.json``: ``shape`` (of LlamaConfig), ``windows`` (an int32 .npy file [rows, tokens + 1]), ``rows`` of a step,
``rate``, ``warmup_steps``, ``seed``, ``bf16``, ``out`` (folder of the model).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments


class Windows(torch.utils.data.Dataset):
    """The file's rows in its order; every one has ``tokens`` targets, as ours have."""

    def __init__(self, path: str) -> None:
        self.rows = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.from_numpy(self.rows[index].astype(np.int64))
        return {"input_ids": ids, "labels": ids}


class InOrder(Trainer):
    """Takes the rows as they come: their order is drawn already."""

    def _get_train_sampler(self, *given: Any, **named: Any) -> torch.utils.data.SequentialSampler:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def main() -> None:
    """Train once and say how long it took and what the last losses were."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(int(sys.argv[sys.argv.index("--threads") + 1]))
    torch.manual_seed(settings["seed"])
    config = LlamaConfig(**settings["shape"], use_cache=False, attn_implementation="sdpa")
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=settings["rows"], num_train_epochs=1, bf16=settings["bf16"],
            use_cpu=True, optim="adamw_torch_fused", learning_rate=settings["rate"], adam_beta1=0.9, adam_beta2=0.95,
            weight_decay=0.1, max_grad_norm=1.0, lr_scheduler_type="cosine", warmup_steps=settings["warmup_steps"],
            logging_steps=10, save_strategy="no", report_to="none", dataloader_pin_memory=False, disable_tqdm=True,
            seed=settings["seed"],
        )  # fmt: skip
        trainer = InOrder(LlamaForCausalLM(config), arguments, train_dataset=Windows(settings["windows"]))
        begun = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begun
    trainer.model.save_pretrained(settings["out"])
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    print(json.dumps({"seconds": round(seconds, 1), "final_loss": losses[-1], "parameters": parameters}))


if __name__ == "__main__":
    main()

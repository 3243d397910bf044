"""Hugging Face Trainer on a LlamaForCausalLM: next-token training at its cheapest settings, in step with ``pace``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy
import torch
import transformers
from transformers import Trainer, TrainingArguments

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from llama import Pacer, llama
from pace import Pace, Shape, Stop, shape


class Windows(torch.utils.data.Dataset):
    """Rows of the shape's steps, one after another."""

    def __init__(self, wanted: Shape) -> None:
        self.wanted = wanted

    def __len__(self) -> int:
        return 100_000 * self.wanted.rows

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        step, row = divmod(index, self.wanted.rows)
        ids = torch.from_numpy(self.wanted.windows(step)[row, : self.wanted.tokens])
        return {"input_ids": ids, "labels": ids}


def main() -> None:
    """Train until told to stop."""
    on_gpu = torch.cuda.is_available()
    pace, wanted = Pace(torch.cuda.synchronize) if on_gpu else Pace(), shape()
    torch.set_num_threads(int(sys.argv[sys.argv.index("--threads") + 1]))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=wanted.rows, max_steps=90_000, bf16="--bf16" in sys.argv,
            use_cpu=not on_gpu, optim="adamw_torch_fused", learning_rate=3e-4, adam_beta2=0.95, weight_decay=0.1,
            max_grad_norm=1.0, lr_scheduler_type="constant", logging_strategy="no", save_strategy="no",
            report_to="none", dataloader_pin_memory=False, disable_tqdm=True,
        )  # fmt: skip
        trainer = Trainer(
            llama(wanted),
            arguments,
            train_dataset=Windows(wanted),
            callbacks=[Pacer(pace)],
        )
        try:
            trainer.train()
        except Stop:
            versions = {"transformers": transformers.__version__, "torch": torch.__version__}
            peak_mb = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else 0.0
            pace.say({"versions": versions | {"numpy": numpy.__version__}, "peak_mb": peak_mb})


if __name__ == "__main__":
    main()

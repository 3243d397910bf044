"""litgpt's pretrain (which compiles the model) on the same shape, in step with ``pace``.

Its fused AdamW is for CUDA only; what it uses on a CPU is PyTorch's default. The learning rate's warm-up and the log
line it prints at every step are litgpt's own.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.config import Config
from litgpt.data.base import DataModule
from litgpt.pretrain import setup
from torch.utils.data import DataLoader, IterableDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from pace import Pace, Shape, Stop, shape


class Windows(IterableDataset):
    """Batches of the shape's steps; calls the pace before each, if it has one."""

    def __init__(self, wanted: Shape, pace: Pace | None) -> None:
        self.wanted, self.pace = wanted, pace

    def __len__(self) -> int:
        return 100_000

    def __iter__(self) -> Iterator[torch.Tensor]:
        for step in range(len(self)):
            if self.pace is not None:
                self.pace.boundary()
            yield torch.from_numpy(self.wanted.windows(step))


class Data(DataModule):
    """The same windows to train on and to validate on."""

    def __init__(self, wanted: Shape, pace: Pace) -> None:
        super().__init__()
        self.wanted, self.pace = wanted, pace

    def connect(self, tokenizer: Any = None, batch_size: int = 1, max_seq_length: int | None = None, **_: Any) -> None:
        """See ``DataModule``."""

    def train_dataloader(self) -> DataLoader:
        """Windows in step with the pace."""
        return DataLoader(Windows(self.wanted, self.pace), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """Windows without it."""
        return DataLoader(Windows(self.wanted, None), batch_size=None)


def main() -> None:
    """Train until told to stop."""
    pace, wanted = Pace(), shape()
    torch.set_num_threads(int(sys.argv[sys.argv.index("--threads") + 1]))
    config = Config(
        name="bench", block_size=wanted.tokens, vocab_size=wanted.vocab, padded_vocab_size=wanted.vocab,
        n_layer=wanted.layers, n_head=wanted.heads, n_embd=wanted.hidden, n_query_groups=wanted.heads,
        rotary_percentage=1.0, parallel_residual=False, bias=False, norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP", intermediate_size=wanted.feed_forward, norm_eps=1e-6,
    )  # fmt: skip
    settings = TrainArgs(
        save_interval=None, log_interval=1, global_batch_size=wanted.rows, micro_batch_size=wanted.rows,
        max_tokens=10**9, max_norm=1.0, min_lr=3e-4, lr_warmup_steps=2,
    )  # fmt: skip
    optimiser = {
        "class_path": "torch.optim.AdamW",
        "init_args": {"lr": 3e-4, "weight_decay": 0.1, "betas": (0.9, 0.95)},
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            setup(
                "bench", model_config=config, out_dir=Path(folder), data=Data(wanted, pace), train=settings,
                precision="bf16-mixed" if "--bf16" in sys.argv else "32-true", optimizer=optimiser, devices=1,
                eval=EvalArgs(interval=10**9, max_iters=1, initial_validation=False, final_validation=False),
                logger_name="csv",
            )  # fmt: skip
        except Stop:
            pace.say({"versions": {name: importlib.metadata.version(name) for name in ("litgpt", "torch", "numpy")}})


if __name__ == "__main__":
    main()

"""A released folder: what transformers, vLLM and converters load with no custom code, and a card that says what it is.

Nothing in it tells a time, a path or a machine: the same build gives the same bytes.
"""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from shikomi.errors import DataError
from shikomi.io import PARTIAL_SUFFIX, atomic, read_json, write_json
from shikomi.log import Progress, silent
from shikomi.recipe.release import ReleasePage
from shikomi.release.card import licence_note, write_card
from shikomi.release.verify import INDEX, WEIGHTS, check_weights, read_weights, weight_files, write_checksums

SHARD_BYTES = 5 * 10**9
"""Largest weight file: what hubs and converters handle well; transformers 5 would write 50 GB by itself."""
STEPS = ("weights", "config", "tokenizer", "card", "checksums")


def bundle(
    page: ReleasePage, model: Path, out: Path, *, provenance: dict[str, Any], progress: Progress = silent
) -> dict[str, Any]:
    """Verify a model folder and complete it for release.

    Args:
        model: ``config.json``, weights, tokenizer files and ``summary.json`` as a training stage writes them.
        provenance: per stage name ``{id, facts}`` (``model``, ``corpus``, ``tokens``, ``dialogues`` …), ``synthetic``,
            ``unflavoured``, and where known ``scores`` (``scores.json``), ``base_model`` and ``recipe``.

    Returns:
        Facts: parameters, bytes of the weights, files, whether it may be released and why not.

    Raises:
        DataError: weights cut off, damaged, not finite or not what ``config.json`` says; a tokenizer that does not
            fit; an unflavoured base that has seen instruction tokens.
    """
    from shikomi.model.config_json import from_hugging_face
    from shikomi.tokenizer.codec import Codec

    raw = _raw_config(model)
    config = from_hugging_face(raw, str(model / "config.json"))
    codec = Codec(model)
    if codec.vocab_size > config.vocab_size:
        raise DataError(
            f"the tokenizer has {codec.vocab_size} tokens, the model rows for {config.vocab_size}",
            where=str(model / "config.json"),
            hint="the folder's tokenizer is not the model's own",
        )
    counts = _counts(model, provenance)
    if provenance.get("unflavoured") and counts.get("instruction_tokens"):
        raise DataError(
            f"an unflavoured base has seen {counts['instruction_tokens']} instruction tokens", where=str(model)
        )
    progress(0, len(STEPS), "steps", STEPS[0])
    tensors = read_weights(model)
    as_it_is = len(weight_files(model)) == 1
    if config.tie_embeddings and tensors.pop("lm_head.weight", None) is not None:
        as_it_is = False
    check_weights(tensors, config, model)
    weight_bytes = _write_weights(tensors, model / WEIGHTS if as_it_is else None, out)
    progress(1, len(STEPS), "steps", STEPS[1])
    write_json(out / "config.json", _config(raw, config, codec, tensors))
    write_json(out / "generation_config.json", _generation_config(codec))
    progress(2, len(STEPS), "steps", STEPS[2])
    _write_tokenizer(model, out, config.max_tokens)
    progress(3, len(STEPS), "steps", STEPS[3])
    parameters = sum(tensor.numel() for tensor in tensors.values())
    reasons = hindrances(provenance)
    write_card(page, out, parameters=parameters, config=config, counts=counts, provenance=provenance, reasons=reasons)
    with atomic(out / "LICENSE") as handle:
        handle.write(licence_note(page.licence, reasons))
    write_json(out / "reproduce.json", _reproduce(page, counts, provenance))
    progress(4, len(STEPS), "steps", STEPS[4])
    write_checksums(out)
    progress(5, len(STEPS), "steps", "")
    return {
        "parameters": parameters,
        "weight_bytes": weight_bytes,
        "instruction_tokens": counts.get("instruction_tokens", 0),
        "releasable": not reasons,
        "hindrances": reasons,
        "files": sorted(path.name for path in out.iterdir() if path.is_file()),
    }


def hindrances(provenance: dict[str, Any]) -> list[str]:
    """Why a model may not be released; empty if it may."""
    facts = _facts(provenance, "dialogues")
    found = []
    if facts.get("mechanics_only"):
        names = ", ".join(facts.get("eval_only_prompts", {})) or "an evaluation set"
        found.append(f"preference pairs use prompts of {names}, which is for evaluation only")
    return found


def _facts(provenance: dict[str, Any], stage: str) -> dict[str, Any]:
    found = provenance.get(stage)
    facts = found.get("facts") if isinstance(found, dict) else None
    return facts if isinstance(facts, dict) else {}


def _counts(model: Path, provenance: dict[str, Any]) -> dict[str, Any]:
    """Tokens and FLOPs this model has seen: as its stage's manifest says, else its ``summary.json``."""
    summary = read_json(model / "summary.json") if (model / "summary.json").is_file() else {}
    facts = _facts(provenance, "model")
    names = ("parameters", "crawl_tokens", "instruction_tokens", "flops")
    return {name: facts.get(name, summary.get(name)) for name in names if name in facts or name in summary}


def _raw_config(model: Path) -> dict[str, Any]:
    if not (model / "config.json").is_file():
        raise DataError("not a model folder: config.json is missing", where=str(model))
    raw = read_json(model / "config.json")
    if not isinstance(raw, dict):
        raise DataError("config.json is not an object", where=str(model / "config.json"))
    return raw


def _write_weights(tensors: dict[str, Any], whole: Path | None, out: Path) -> int:
    """Write one file (a copy of ``whole`` if given), or shards and their index; returns the tensors' bytes."""
    from shikomi.model.weights import write_weights

    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    for stale in [*out.glob("model*.safetensors"), *out.glob(INDEX)]:
        stale.unlink()
    if whole is not None and total <= SHARD_BYTES:
        partial = out / (WEIGHTS + PARTIAL_SUFFIX)
        shutil.copyfile(whole, partial)
        partial.replace(out / WEIGHTS)
    else:
        write_weights(tensors, out, SHARD_BYTES)
    return total


def _config(raw: dict[str, Any], config: Any, codec: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    """``config.json`` with everything that either major of transformers reads, each value in both spellings.

    What breaks otherwise: transformers 4 takes rope theta for 10,000 if only ``rope_parameters`` is there, and a
    Llama configuration without ids invents 1 and 2.
    """
    from shikomi.model.config_json import to_hugging_face

    dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    own = to_hugging_face(config, eos_id=codec.eos_id, pad_id=codec.pad_id)
    start = codec.start_ids[0] if codec.start_ids else None
    return raw | own | {"bos_token_id": start, "dtype": dtype, "torch_dtype": dtype}


def _generation_config(codec: Any) -> dict[str, Any]:
    """Greedy by default; an answer ends at the end of a turn or of the text. The padding id never ends one."""
    return {
        "bos_token_id": codec.start_ids[0] if codec.start_ids else None,
        "do_sample": False,
        "eos_token_id": list(dict.fromkeys([codec.eos_id, codec.turn_end_id])),
        "pad_token_id": codec.pad_id,
    }


def _write_tokenizer(model: Path, out: Path, max_tokens: int) -> None:
    """The tokenizer unchanged; its settings say the trained length and a class that both majors load."""
    from shikomi.tokenizer.codec import Codec

    shutil.copyfile(model / "tokenizer.json", out / "tokenizer.json")
    settings = read_json(model / "tokenizer_config.json") if (model / "tokenizer_config.json").is_file() else {}
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_tokens}
    write_json(out / "tokenizer_config.json", settings)
    template = model / "chat_template.jinja"
    with atomic(out / "chat_template.jinja") as handle:
        handle.write(template.read_text(encoding="utf-8") if template.is_file() else Codec(model).frame.jinja())


def _reproduce(page: ReleasePage, counts: dict[str, Any], provenance: dict[str, Any]) -> dict[str, Any]:
    """Which stages, by id, gave this model, and with which versions of what computes."""
    stages = {
        name: value["id"]
        for name, value in sorted(provenance.items())
        if isinstance(value, dict) and isinstance(value.get("id"), str)
    }
    return {
        "name": page.name,
        "command": "shikomi build RECIPE",
        "recipe": provenance.get("recipe"),
        "stages": stages,
        "seen": counts,
        "versions": {name: _version(name) for name in ("shikomi", "torch", "tokenizers", "safetensors")},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

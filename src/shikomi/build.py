"""The whole build on one page: every stage from crawl to release, in the order in which data flows.

Each stage takes folders and its page of the recipe and gives one folder; nothing else passes between stages. Work
rooms are imported when their stage runs, so that planning a build loads none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shikomi.documents.folder import find
from shikomi.flow.lineage import FORGOTTEN
from shikomi.flow.step import Context, Source, Step
from shikomi.io import read_json
from shikomi.recipe.common_crawl import CommonCrawlPage
from shikomi.recipe.files import below, existing_folder, files, mixture_folders
from shikomi.recipe.mixture import MixtureSource
from shikomi.recipe.schema import Recipe

Inputs = dict[str, Path]


def steps(recipe: Recipe, folder: Path, store: Path | None = None) -> list[Step]:
    """Every stage of a recipe whose relative paths start at ``folder``; what ``store`` forgot stays out of its corpus.

    ``crawl → pages → corpus → tokenizer → tokens → pretrain → release_base`` never see a dialogue: their ids stay when
    dialogues change. ``dialogues → anneal → sft → dpo → evaluate → release`` stand on them; ``dialogues`` is made
    first of all, so that a faulty file of them is told before hours are spent.

    Raises:
        RecipeError: a path or glob of the recipe finds nothing.
    """
    base = existing_folder(recipe.model.base, folder, "model.base") if recipe.model.base else None
    crawl = _crawl(recipe, folder)
    pages = _pages(recipe, folder, crawl)
    domain = _domain(recipe, folder, pages)
    corpus = _corpus(recipe, folder, pages, domain, store)
    tokenizer = _tokenizer(recipe, corpus, base)
    tokens = _tokens(recipe, corpus, tokenizer)
    pretrain = _pretrain(recipe, folder, tokens, tokenizer, base)
    release_base = _release(recipe, "release_base", pretrain, {"corpus": corpus, "tokens": tokens})
    # Pages of one's own with the sample's dialogues: the synthetic web is written for its facts alone.
    facts = crawl if recipe.synthetic or recipe.dialogues.sources else _sample_crawl(recipe)
    dialogues = _dialogues(recipe, folder, facts)
    stood_on = {"tokens": tokens, "dialogues": dialogues, "tokenizer": tokenizer}
    anneal = _anneal(recipe, folder, {"before": pretrain, **stood_on})
    sft = _sft(recipe, {"before": anneal, **stood_on})
    dpo = _dpo(recipe, {"before": sft, "dialogues": dialogues, "tokenizer": tokenizer})
    models = {"base": pretrain, "anneal": anneal, "sft": sft, "dpo": dpo}
    evaluate = _evaluate(recipe, models, dialogues, tokens)
    told = {"corpus": corpus, "tokens": tokens, "dialogues": dialogues, "evaluate": evaluate}
    release = _release(recipe, "release", dpo, told)
    crawled = [crawl] if isinstance(crawl, Step) else []
    told_of = [facts] if isinstance(facts, Step) and facts is not crawl else []
    return [
        *crawled, *told_of, dialogues, pages, *([domain] if domain else []), corpus, tokenizer, tokens,
        pretrain, release_base, anneal, sft, dpo, evaluate, release,
    ]  # fmt: skip


def _crawl(recipe: Recipe, folder: Path) -> Step | Source | None:
    """The web pages: files the recipe names, a part of Common Crawl, or the synthetic web; None: documents alone."""
    if recipe.corpus.warc:
        return Source("crawl", files(recipe.corpus.warc, folder, "corpus.warc"))
    if recipe.corpus.common_crawl:
        return _fetch(recipe.corpus.common_crawl)
    return _sample_crawl(recipe) if recipe.synthetic else None


def _fetch(page: CommonCrawlPage) -> Step:
    """A part of Common Crawl, as WARC files."""

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.corpus.fetch.snapshot import fetch

        return fetch(page, out, progress=context.progress)

    return Step("fetch", 1, page, {}, run)


def _sample_crawl(recipe: Recipe) -> Step:
    """The synthetic web, its gold labels and its facts."""
    page = recipe.sample
    assert page is not None  # a recipe without WARC files, or without dialogues, has one: the loader sees to it

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.sample.crawl import write_crawl

        return write_crawl(page, out, progress=context.progress)

    return Step("crawl", 1, page.identity(), {}, run)


def _pages(recipe: Recipe, folder: Path, crawl: Step | Source | None) -> Step:
    """Every document's text and measures: all that no threshold can change."""
    page = recipe.corpus
    table = files([page.licence_table], folder, "corpus.licence_table")[0] if page.licence_table else None
    documents = [(source, find(source.path, folder)) for source in page.documents]
    inputs: dict[str, Step | Source] = {"crawl": crawl} if crawl else {}
    if table:
        inputs["licences"] = Source("licences", [table])
    if documents:
        inputs["documents"] = Source("documents", [file.path for _, found in documents for file in found])

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.corpus.pages import read_pages

        warcs = crawl.paths if isinstance(crawl, Source) else []
        if isinstance(crawl, Step):
            warcs = sorted(inputs["crawl"].glob("warc/*.warc*"))
        return read_pages(
            page,
            warcs,
            out,
            documents=documents,
            licences=table,
            workers=context.workers,
            pool=context.pool,
            progress=context.progress,
        )

    names = [[file.name for file in found] for _, found in documents]  # they stand in the documents' addresses
    return Step("pages", 2, {**page.reading(), **({"names": names} if names else {})}, inputs, run)


def _domain(recipe: Recipe, folder: Path, pages: Step) -> Step | None:
    """Scorers of what is wanted, learned on the recipe's examples and the corpus; None where it wants none."""
    scorers = recipe.corpus.domain
    if not scorers:
        return None

    def named(patterns: list[str]) -> list[Path]:
        return files(patterns, folder, "corpus.domain")

    examples = [(named(one.positives), named(one.negatives)) for one in scorers]
    shown = [path for wanted, others in examples for path in (*wanted, *others)]

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.corpus.quality.domain import learn_scorers

        return learn_scorers(scorers, named, inputs["pages"], out, progress=context.progress)

    page = [  # one source holds all examples: how many are of which kind tells them apart
        {**one.identity(), "shown": [len(wanted), len(others)]}
        for one, (wanted, others) in zip(scorers, examples, strict=True)
    ]
    return Step("domain", 1, page, {"pages": pages, "examples": Source("examples", shown)}, run)


def _corpus(recipe: Recipe, folder: Path, pages: Step, domain: Step | None, store: Path | None) -> Step:
    """Kept Japanese documents, and a verdict for every document read."""
    page = recipe.corpus
    lists = {
        "words": files(page.words.lists, folder, "corpus.words.lists"),
        "urls": below(page.urls.lists, folder, "corpus.urls.lists"),
        "opt_out": files(page.opt_out.lists, folder, "corpus.opt_out.lists"),
    }
    if store and (store / FORGOTTEN).is_file():
        lists["opt_out"].append(store / FORGOTTEN)
    sets = [files([one.path], folder, "corpus.decontaminate.sets.path") for one in page.decontaminate.sets]
    lists["sets"] = [path for found in sets for path in found]
    earlier = [existing_folder(path, folder, "corpus.copies.earlier") for path in page.copies.earlier]
    signatures = [path for corpus in earlier for path in sorted(corpus.glob("signatures/*.parquet"))]
    inputs: dict[str, Step | Source] = {"pages": pages, **({"domain": domain} if domain else {})}
    inputs |= {name: Source(name, paths) for name, paths in {**lists, "earlier": signatures}.items() if paths}

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.corpus.decide import open_aids
        from shikomi.corpus.pipeline import decide_corpus

        urls = [folder / Path(path).expanduser() for path in page.urls.lists]
        aids = open_aids(page, out / "scratch", **{**lists, "urls": urls, "sets": sets}, scorers=inputs.get("domain"))
        return decide_corpus(
            page,
            inputs["pages"],
            out,
            aids=aids,
            earlier=earlier,
            read_from=_told(pages),
            workers=context.workers,
            pool=context.pool,
            progress=context.progress,
        )

    return Step("corpus", 2, page.deciding(), inputs, run)


def _told(pages: Step) -> str:
    """Where pages come from, for messages."""
    crawl = pages.inputs.get("crawl") or pages.inputs["documents"]
    return str(crawl.paths[0]) if isinstance(crawl, Source) else f"the stage {crawl.name}"


def _tokenizer(recipe: Recipe, corpus: Step, base: Path | None) -> Step:
    """A byte-level BPE learned on the corpus, or the open base's own."""
    page = recipe.tokenizer
    if base is not None:
        source = Source("base", [base / "tokenizer.json", base / "tokenizer_config.json"])

        def adopt_run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
            from shikomi.tokenizer.learn import adopt

            return adopt(base, out)

        return Step("tokenizer", 1, None, {"base": source}, adopt_run)

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.tokenizer.learn import learn

        return learn(page, inputs["corpus"], out, progress=context.progress)

    return Step("tokenizer", 1, page.identity(), {"corpus": corpus}, run)


def _tokens(recipe: Recipe, corpus: Step, tokenizer: Step) -> Step:
    """Memory-mapped token shards, with a held-out part that no training sees."""
    page = recipe.tokenizer

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.tokenizer.encode import encode_corpus

        return encode_corpus(
            page, inputs["corpus"], inputs["tokenizer"], out, workers=context.workers, progress=context.progress
        )

    return Step("tokens", 1, page.identity(), {"corpus": corpus, "tokenizer": tokenizer}, run)


def _mixed(sources: list[MixtureSource], folder: Path, stage: str) -> tuple[dict[str, list[Path]], dict[str, Source]]:
    """The outside token folders of a mixture by the name of their source, and their files as inputs of the stage."""
    folders, names = mixture_folders(sources, folder, stage), ("index.json", "train.bin", "train.offsets.bin")
    files_of = {name: [path / file for path in found for file in names] for name, found in folders.items()}
    return folders, {f"mixture {name}": Source(name, paths) for name, paths in files_of.items()}


def _pretrain(recipe: Recipe, folder: Path, tokens: Step, tokenizer: Step, base: Path | None) -> Step:
    """The unflavoured base: crawl text alone."""
    folders, mixed = _mixed(recipe.pretrain.mixture, folder, "pretrain")
    inputs: dict[str, Step | Source] = {"tokens": tokens, "tokenizer": tokenizer, **mixed}
    if base is not None:
        inputs["base"] = Source("base", [base / "config.json", *sorted(base.glob("*.safetensors"))])

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.tokenizer.codec import Codec
        from shikomi.train.stretch import pretrain

        return pretrain(
            recipe.pretrain,
            recipe.model,
            base,
            tokens=inputs["tokens"],
            tokenizer=inputs["tokenizer"],
            codec=Codec(inputs["tokenizer"]),
            out=out,
            folders=folders,
            site=context.training,
            progress=context.progress,
        )

    page = {"train": recipe.pretrain.identity(), "model": recipe.model.identity() if base is None else {}}
    return Step("pretrain", 1, page, inputs, run, trains=True)


def _dialogues(recipe: Recipe, folder: Path, crawl: Step | Source | None) -> Step:
    """Dialogues, preferences and questions: of the sample's facts, or from the files the recipe names."""
    page = recipe.dialogues
    if page.sources:
        paths = [path for source in page.sources for path in files([source.path], folder, "dialogues.sources.path")]

        def read_run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
            from shikomi.tune.sources import write_sources

            return write_sources(page, folder, out, progress=context.progress)

        return Step("dialogues", 1, page.identity(), {"files": Source("files", paths)}, read_run)

    sample = recipe.sample
    assert sample is not None  # without sources there is one: the loader sees to it

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.sample.dialogues import write_dialogues

        return write_dialogues(sample, page, inputs["crawl"], out, progress=context.progress)

    assert crawl is not None  # with a sample, its crawl is written for its facts
    return Step("dialogues", 1, page.identity(), {"crawl": crawl}, run)


def _anneal(recipe: Recipe, folder: Path, inputs: dict[str, Step]) -> Step:
    """Dialogues enter here, while the crawl is still being read."""
    folders, mixed = _mixed(recipe.anneal.mixture, folder, "anneal")
    named = tuple(inputs)  # the mixture's own inputs are known by ``folders``

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.tokenizer.codec import Codec
        from shikomi.train.stretch import anneal

        return anneal(
            recipe.anneal,
            **{name: inputs[name] for name in named},
            codec=Codec(inputs["tokenizer"]),
            out=out,
            folders=folders,
            site=context.training,
            progress=context.progress,
        )

    return Step("anneal", 1, recipe.anneal.identity(), {**inputs, **mixed}, run, trains=True)


def _sft(recipe: Recipe, inputs: dict[str, Step]) -> Step:
    """Assistant turns only."""

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.tokenizer.codec import Codec
        from shikomi.tune.sft import sft

        codec = Codec(inputs["tokenizer"])
        return sft(recipe.sft, **inputs, codec=codec, out=out, site=context.training, progress=context.progress)

    return Step("sft", 1, recipe.sft.identity(), inputs, run, trains=True)


def _dpo(recipe: Recipe, inputs: dict[str, Step]) -> Step:
    """Preferences, against the SFT model as the reference."""

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.tokenizer.codec import Codec
        from shikomi.tune.dpo import dpo

        codec = Codec(inputs["tokenizer"])
        return dpo(recipe.dpo, **inputs, codec=codec, out=out, site=context.training, progress=context.progress)

    return Step("dpo", 1, recipe.dpo.identity(), inputs, run, trains=True)


def _evaluate(recipe: Recipe, models: dict[str, Step], dialogues: Step, tokens: Step) -> Step:
    """All four models asked the same questions."""

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.evaluate.run import evaluate
        from shikomi.sample.gold import follows_gold_rule, normalise_answer

        return evaluate(
            recipe.evaluate,
            {name: inputs[name] for name in models},
            inputs["dialogues"],
            inputs["tokens"],
            out,
            normalise=normalise_answer,
            follows_rule=follows_gold_rule,
            progress=context.progress,
        )

    return Step("evaluate", 1, recipe.evaluate.identity(), {**models, "dialogues": dialogues, "tokens": tokens}, run)


def _release(recipe: Recipe, name: str, model: Step, told: dict[str, Step]) -> Step:
    """A folder that transformers loads, with its card and checksums."""

    def run(inputs: Inputs, out: Path, context: Context) -> dict[str, Any]:
        from shikomi.release.bundle import bundle

        provenance = {stage: _manifest(inputs[stage]) for stage in told} | {"model": _manifest(inputs["model"])}
        provenance |= {"synthetic": recipe.synthetic, "unflavoured": name == "release_base"}
        provenance |= {"recipe": _recipe_pages(recipe, flavoured="dialogues" in told), "base_model": base_model}
        if "evaluate" in told:
            provenance["scores"] = read_json(inputs["evaluate"] / "scores.json")
        return bundle(recipe.release, inputs["model"], out, provenance=provenance, progress=context.progress)

    base_model = Path(recipe.model.base).name
    page = {"release": recipe.release.identity(), "recipe": recipe.name, "base_model": base_model}
    return Step(name, 1, page, {"model": model, **told}, run)


def _recipe_pages(recipe: Recipe, *, flavoured: bool) -> dict[str, Any]:
    """The pages that a released model was made of; a base's say nothing of dialogues, which it never saw."""
    names = ["corpus", "tokenizer", "model", "pretrain"]
    names += ["dialogues", "anneal", "sft", "dpo", "evaluate"] if flavoured else []
    names += ["sample"] if recipe.sample and (recipe.synthetic or flavoured) else []
    return {name: getattr(recipe, name).identity() for name in sorted(names)}


def _manifest(folder: Path) -> dict[str, Any]:
    """What a manifest says of its stage, without times and machine: those may not enter a released folder."""
    from shikomi.train.stretch import TIMES

    manifest = read_json(folder / "manifest.json")
    facts = {name: value for name, value in manifest.get("facts", {}).items() if name not in TIMES}
    return {"id": manifest["id"], "facts": facts}

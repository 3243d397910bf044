"""``shikomi forget``: what a store keeps out of every later corpus, and which of its models have seen it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shikomi.cli.options import with_json, with_store
from shikomi.errors import UsageError

if TYPE_CHECKING:
    from shikomi.corpus.care.forget import Meant
    from shikomi.corpus.care.optout import Entry
    from shikomi.flow.store import Store

MODELS = ("pretrain", "anneal", "sft", "dpo", "release_base", "release")
"""Steps whose results are models."""


@click.command("forget")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--url", "urls", multiple=True, metavar="URL", help="An address; * at its end: all that start so.")
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="A host and all hosts under it.")
@click.option(
    "--list", "lists", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="A file of such entries."
)
@click.option("--copies", is_flag=True, help="Forget copies of these documents at other addresses, too.")
@with_store
@with_json
def command(
    ids: tuple[str, ...],
    urls: tuple[str, ...],
    hosts: tuple[str, ...],
    lists: tuple[Path, ...],
    copies: bool,
    store: Path,
    as_json: bool,
) -> None:
    """Keep documents out of every later corpus of this store, and list the models that have seen them.

    ID is a document's, 16 hexadecimal digits, as `look corpus --json` shows it. Nothing is deleted: corpora and models
    that hold it stay until they are built again. Without ID and options, what is kept out already is shown.
    """
    from shikomi.cli.screen import say, show, show_json
    from shikomi.corpus.care.optout import as_line
    from shikomi.flow.lineage import FORGOTTEN, read_lineage
    from shikomi.flow.lock import hold
    from shikomi.flow.store import Store

    opened = Store(store)
    if not store.is_dir():
        raise UsageError(
            "there is no store here", where=str(store), hint="name the store of a build with --store, or build first"
        )
    asked = _asked(ids, urls, hosts, lists)
    if asked:
        _check_ids(opened, [value for kind, value in sorted(_asked(ids, (), (), ()))])
        with hold(opened.lock_path, "forget", say=say):
            told = _forget(opened, asked, copies)
    else:
        known = _known(opened)
        told = {"added": [], "already": [as_line(one) for one in sorted(known)], **_seen(opened, known)}
    told = {"list": str(store / FORGOTTEN), **told}
    show_json(told) if as_json else show(text(told, bool(read_lineage(opened).of(MODELS))))


def _asked(ids: tuple[str, ...], urls: tuple[str, ...], hosts: tuple[str, ...], lists: tuple[Path, ...]) -> set[Entry]:
    """What the command line names, in canonical form.

    Raises:
        UsageError: something that is no id, address or host.
        DataError: a list that cannot be read.
    """
    from shikomi.corpus.care.optout import entry, read_list

    found = {one for path in lists for one in read_list(path)}
    named = [("id", value) for value in ids] + [("prefix" if url.endswith("*") else "url", url) for url in urls]
    for kind, value in [*named, *(("host", host) for host in hosts)]:
        try:
            found.add(entry(kind, value))
        except ValueError as error:
            where, hint = ("ID", "16 hexadecimal digits") if kind == "id" else (f"--{kind}", "see the guide on privacy")
            if kind == "id" and "." in value:
                hint = f"did you mean `--url {value}`?" if "/" in value else f"did you mean `--host {value}`?"
            raise UsageError(str(error), where=where, hint=hint) from error
    return found


def _check_ids(store: Store, ids: list[str]) -> None:
    """Refuse an id on the command line that no corpus of the store has ever read.

    Raises:
        UsageError: unknown; the nearest id is shown.
    """
    from shikomi.corpus.care.forget import nearest, read_rows
    from shikomi.flow.lineage import read_lineage

    if not ids:
        return
    results = read_lineage(store).of(("corpus", "pages"))
    known = {row.id for step, identity in results for row in read_rows(store.final(step, identity))}
    for one in ids:
        if one not in known:
            near = nearest(one, known)
            hint = f'did you mean "{near}"?' if near else "`shikomi look corpus --json` shows ids; or use --url, --host"
            raise UsageError(
                f'no document "{one}" in this store', where=f"{store.root}: {len(known):,} documents", hint=hint
            )


def _known(store: Store) -> set[Entry]:
    from shikomi.corpus.care.optout import read_list
    from shikomi.flow.lineage import FORGOTTEN

    path = store.root / FORGOTTEN
    return read_list(path) if path.exists() else set()


def _forget(store: Store, asked: set[Entry], copies: bool) -> dict[str, Any]:
    from shikomi.corpus.care.optout import as_line, write_list
    from shikomi.flow.lineage import FORGOTTEN

    known = _known(store)
    told = _seen(store, asked)
    if copies:
        asked = asked | {("id", row["id"]) for row in told["copies"]}
        told = _seen(store, asked)
    added = sorted(asked - known)
    if added:
        write_list(store.root / FORGOTTEN, known | asked)
        store.journal.write("forgotten", entries=[as_line(one) for one in added])
    return {
        "added": [as_line(one) for one in added],
        "already": [as_line(one) for one in sorted(asked & known)],
        **told,
    }


def _seen(store: Store, entries: set[Entry]) -> dict[str, Any]:
    """The documents that entries mean in the store's corpora, their copies, and the models whose corpus held them."""
    from shikomi.corpus.care.forget import meant
    from shikomi.corpus.care.optout import make_opt_out
    from shikomi.flow.lineage import read_lineage

    lineage, opted = read_lineage(store), make_opt_out(entries)
    corpora = {one: meant(store.final(*one), opted) for one in lineage.of(("corpus",))}
    models, unknown = [], []
    for model in lineage.of(MODELS):
        stood_on = {one for one in lineage.origins(model) if one[0] == "corpus"}
        seen = set().union(*(corpora[one].seen for one in stood_on if one in corpora))
        told = {"step": model[0], "id": model[1], "folder": str(store.final(*model))}
        if seen:
            models.append({**told, "documents": len(seen), "corpora": sorted(one[1] for one in stood_on)})
        elif not stood_on or not stood_on <= corpora.keys():
            unknown.append(told)
    return {**_documents(corpora), "models": models, "unknown": unknown}


def _documents(corpora: dict[tuple[str, str], Meant]) -> dict[str, Any]:
    documents: dict[str, dict[str, Any]] = {}
    copies: dict[str, dict[str, Any]] = {}
    for (_, identity), found in corpora.items():
        for row in found.rows:
            one = documents.setdefault(row.id, {"id": row.id, "url": row.url, "corpora": []})
            verdict = {"id": identity, "verdict": row.verdict, "reason": row.reason, "seen": row.id in found.seen}
            if verdict not in one["corpora"]:
                one["corpora"].append(verdict)
        copies |= {row.id: {"id": row.id, "url": row.url} for row in found.copies}
    others = [copies[id] for id in sorted(copies) if id not in documents]
    return {"documents": [documents[id] for id in sorted(documents)], "copies": others}


def text(told: dict[str, Any], any_models: bool) -> str:
    """What is kept out, and which models have seen it, for people."""
    from shikomi.cli.screen import cut, table

    lines = [f"kept out from now on: {one}" for one in told["added"]]
    lines += [f"kept out already: {one}" for one in told["already"]]
    if not lines:
        return "nothing is kept out of this store's corpora yet"
    for one in told["documents"][:20]:
        seen = sum(place["seen"] for place in one["corpora"])
        lines.append(f"document {one['id']}  {cut(one['url'], 70)}  in {seen} of {len(one['corpora'])} corpora")
    more = len(told["documents"]) - 20
    lines += [f"and {more:,} more documents"] if more > 0 else []
    if not told["documents"]:
        lines.append("no corpus of this store has read it")
    if told["copies"]:
        count = len(told["copies"])
        lines.append(f"copies at other addresses: {count:,}; they will take its place unless forgotten with --copies")
    if told["models"]:
        rows = [["model", "id", "documents seen"]]
        rows += [[one["step"], one["id"], f"{one['documents']:,}"] for one in told["models"]]
        lines += ["", table(rows, right=(2,)), "these models stay as they are; `shikomi build` makes new ones without"]
    elif any_models:
        lines.append("no model of this store has seen it")
    if told["unknown"]:
        names = ", ".join(f"{one['step']} {one['id']}" for one in told["unknown"][:5])
        lines.append(f"not known of {len(told['unknown'])} models, whose corpus is no longer here: {names}")
    return "\n".join(lines)

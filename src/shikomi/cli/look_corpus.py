"""``shikomi look corpus|drops|duplicates|hosts``: into a corpus, from four sides."""

from __future__ import annotations

from typing import Any


def funnel_text(found: dict[str, Any], num_samples: int) -> str:
    """The funnel as a table: pages read, dropped by reason, kept; what was masked, and the mix by source."""
    from shikomi.cli.progress import bar
    from shikomi.cli.screen import cut, table

    read = max(1, found["read"])
    rows = [["pages", "", "share", ""], ["read", f"{found['read']:,}", "", ""]]
    for reason, count in sorted(found["dropped_by_reason"].items(), key=lambda item: -item[1]):
        rows.append([f"- {reason}", f"{count:,}", f"{count / read:.1%}", bar(count / read)])
    rows.append(["kept", f"{found['kept']:,}", f"{found['kept'] / read:.1%}", bar(found["kept"] / read)])
    parts = [table(rows, right=(1, 2))]
    if found.get("masked"):
        told = ", ".join(f"{kind} {count:,}" for kind, count in found["masked"].items())
        parts.append(f"personal data masked in kept pages: {told}")
    if len(found.get("sources", {})) > 1:
        parts += ["", _places("source", [{"name": name, **told} for name, told in found["sources"].items()])]
    for kind, samples in found.get("samples", {}).items():
        for sample in list(samples)[:num_samples] if isinstance(samples, list) else []:
            words = " ".join(str(value) for value in sample.values()) if isinstance(sample, dict) else str(sample)
            parts.append(f"{kind}: {cut(words, 110)}")
    return "\n".join(parts)


def drops_text(found: dict[str, Any], num_samples: int) -> str:
    """Reasons with what each took, and samples of each with the measure that decided."""
    from shikomi.cli.progress import bar
    from shikomi.cli.screen import cut, table

    rows = [["reason", "documents", "share", "characters", ""]]
    for row in found["reasons"]:
        numbers = [f"{row['documents']:,}", f"{row['share']:.1%}", f"{row['characters']:,}"]
        rows.append([row["reason"], *numbers, bar(row["share"])])
    parts = [table(rows, right=(1, 2, 3))]
    for row in found["reasons"]:
        for sample in [one for one in found["samples"] if one["reason"] == row["reason"]][:num_samples]:
            parts += ["", f"{sample['detail'] or sample['reason']}  {sample['url']}"]
            if sample["excerpt"]:
                parts.append(f"  {cut(sample['excerpt'].replace(chr(10), '⏎'), 108)}")
    return "\n".join(parts)


def hosts_text(found: dict[str, Any], num_samples: int) -> str:
    """Hosts by characters kept, then years and sources."""
    from shikomi.cli.screen import table

    shown = found["hosts"][: max(20, num_samples)]
    parts = [f"{len(shown)} of {found['num_hosts']:,} hosts, by characters kept"]
    parts.append(_places("host", [{"name": row["host"], **row} for row in shown]))
    parts += [
        "",
        table([["year", "documents kept"], *([year, f"{n:,}"] for year, n in found["years"].items())], right=(1,)),
    ]
    parts += ["", _places("source", [{"name": name, **told} for name, told in found["sources"].items()])]
    return "\n".join(parts)


def _places(what: str, rows: list[dict[str, Any]]) -> str:
    from shikomi.cli.screen import table

    lines = [[what, "read", "kept", "share", "characters kept"]]
    for row in rows:
        share = row["kept"] / max(1, row["read"])
        lines.append(
            [row["name"], f"{row['read']:,}", f"{row['kept']:,}", f"{share:.1%}", f"{row['characters_kept']:,}"]
        )
    return table(lines, right=(1, 2, 3, 4))


def duplicates_text(found: dict[str, Any]) -> str:
    """Clusters of copies, their documents under each other, near copies with the place where they first differ."""
    parts = [f"{found['copies']:,} documents repeat another one, in {found['clusters']:,} clusters"]
    for cluster in found["shown"]:
        parts += ["", f"{cluster['size']:,} documents"]
        for one in cluster["documents"]:
            similarity = f" {one['similarity']:.3f}" if one["kind"] in ("near", "earlier") else ""
            parts.append(f"  {one['kind']}{similarity}  {one['url']}")
            if one.get("differs"):
                parts.append(f"    here  …{one['differs']['here']}…")
                parts.append(f"    there …{one['differs']['there']}…")
    return "\n".join(parts)

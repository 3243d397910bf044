"""Why a stage is to be built: the first field that differs from the nearest earlier build."""

from __future__ import annotations

import time
from typing import Any

from shikomi.flow.runner import Build
from shikomi.flow.step import Step


def why(build: Build, step: Step) -> str:
    """One sentence: cached, cut off, never built, or what differs from the earlier build most like this one."""
    identity = build.id(step)
    if build.store.manifest(step.name, identity) is not None:
        damage = build.store.damage(step.name, identity)
        return f"damaged: {damage}" if damage else "cached"
    cut_off = build.store.work(step.name, identity)
    begun = " (cut off; the next build goes on with it)" if cut_off.is_dir() and any(cut_off.iterdir()) else ""
    earlier = build.store.manifests(step.name)
    if not earlier:
        return f"never built in this store{begun}"
    described = build.described(step)
    nearest = min(earlier, key=lambda manifest: len(differences(described, manifest)))
    return _first_difference(build, step, nearest) + begun


def _first_difference(build: Build, step: Step, earlier: dict[str, Any]) -> str:
    described = build.described(step)
    found = differences(described, earlier)
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(earlier.get("finished", 0)))
    for path, now, then in found:
        if not path.startswith("inputs."):
            return f"{path}: {_told(then)} → {_told(now)} (nearest earlier build: {earlier['id']}, {when})"
    for path, _, _ in found:
        name = path.split(".")[1]
        given, before = step.inputs.get(name), earlier["inputs"].get(name)
        if isinstance(given, Step) and before and "step" in before:
            manifest = build.store.manifest(given.name, before["id"])
            if manifest is not None and manifest["id"] != build.id(given):
                return f"input {name} ← {given.name}: {_first_difference(build, given, manifest)}"
            return f"input {name}: the result of stage {given.name} is another one"
        if before is None or given is None:
            return f"input {name}: {'new' if before is None else 'no longer read'}"
        return f"input {name}: the contents of its files changed"
    return f"nothing differs from {earlier['id']}"  # a hash of equal values is equal: not reached


def differences(now: dict[str, Any], then: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Fields that differ between two descriptions of a step: (dotted path, value now, value then); ids left out."""
    found = [("version", now["version"], then["version"])] if now["version"] != then["version"] else []
    _compare("page", now["page"], then["page"], found)
    names = [*now["inputs"], *(name for name in then["inputs"] if name not in now["inputs"])]
    for name in names:
        one, other = now["inputs"].get(name), then["inputs"].get(name)
        if (one or {}).get("id") != (other or {}).get("id"):
            found.append((f"inputs.{name}", one, other))
    return found


def _compare(path: str, now: Any, then: Any, found: list[tuple[str, Any, Any]]) -> None:
    if isinstance(now, dict) and isinstance(then, dict):
        for key in [*now, *(key for key in then if key not in now)]:
            _compare(f"{path}.{key}", now.get(key), then.get(key), found)
    elif now != then or type(now) is not type(then):
        found.append((path, now, then))


def _told(value: Any) -> str:
    text = "not set" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

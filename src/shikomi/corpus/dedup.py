"""Copies: which documents repeat an earlier one, exactly or nearly; the first of a cluster stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BITS = 8
_CHANCE = 1 / (1 << _BITS)
"""Share of slots that agree by chance, a slot being kept as its lowest 8 bits."""


@dataclass(frozen=True)
class Copies:
    """What was found, one entry a document, in document order.

    Attributes:
        original: index of the document it repeats, or its own index; int64 [documents]. An original is never a copy.
        similarity: estimated Jaccard similarity to the original, 1.0 for exact copies; float64 [documents].
        exact: whether it is an exact copy; bool [documents].
    """

    original: np.ndarray
    similarity: np.ndarray
    exact: np.ndarray

    @property
    def is_copy(self) -> np.ndarray:
        """Which documents go; bool [documents]."""
        return self.original != np.arange(len(self.original))


def find_copies(
    exact_keys: np.ndarray | None, band_keys: np.ndarray | None, slots: np.ndarray | None, jaccard: float
) -> Copies:
    """Find exact copies, then near ones among what is left. Documents are in order: the first of a cluster stays.

    Documents that share a band key are joined to clusters; in a cluster each document is compared with those that
    stay so far, and goes if the estimate reaches ``jaccard``. So no document goes for being like one that went.

    Args:
        exact_keys: 16-byte keys as void [documents], or None to leave exact copies.
        band_keys: uint64 [documents, bands], or None to leave near copies.
        slots: lowest 8 bits of the signatures, uint8 [documents, slots].
        jaccard: least estimated similarity of a near copy, from 0 to 1.
    """
    count = len(exact_keys if exact_keys is not None else band_keys if band_keys is not None else ())
    original = np.arange(count)
    similarity = np.ones(count)
    exact = np.zeros(count, dtype=bool)
    if exact_keys is not None:
        _, first, group = np.unique(exact_keys, return_index=True, return_inverse=True)
        original = first[group.reshape(-1)].astype(np.int64)
        exact = original != np.arange(count)
    if band_keys is not None and slots is not None:
        left = np.flatnonzero(~exact)
        for members in _clusters(band_keys[left]):
            _judge(left[members], slots, jaccard, original, similarity)
        # An exact copy of a near copy points on to the document that stays.
        similarity = np.where(exact, similarity[original], similarity)
        original = original[original]
    return Copies(original, similarity, exact)


def _clusters(keys: np.ndarray) -> list[np.ndarray]:
    """Groups of two and more documents that hang together by shared band keys, each in document order."""
    count = len(keys)
    pairs = []
    for band in range(keys.shape[1] if count else 0):
        order = np.argsort(keys[:, band], kind="stable")
        same = keys[order[1:], band] == keys[order[:-1], band]
        pairs.append(np.stack([order[:-1][same], order[1:][same]], axis=1))
    edges = np.unique(np.concatenate(pairs), axis=0) if pairs else np.zeros((0, 2), dtype=np.int64)
    labels = _components(count, edges)
    touched = np.unique(edges)
    order = touched[np.argsort(labels[touched], kind="stable")]
    starts = np.flatnonzero(np.concatenate(([True], labels[order][1:] != labels[order][:-1]))) if len(order) else []
    return [group for group in np.split(order, starts[1:]) if len(group)]


def _components(count: int, edges: np.ndarray) -> np.ndarray:
    """The lowest document each document is connected to; int64 [documents]."""
    labels = np.arange(count)
    while len(edges):
        lowest = np.minimum(labels[edges[:, 0]], labels[edges[:, 1]])
        before = labels.copy()
        np.minimum.at(labels, before[edges[:, 0]], lowest)
        np.minimum.at(labels, before[edges[:, 1]], lowest)
        labels = labels[labels]
        if np.array_equal(labels, before):
            break
    return labels


def _judge(
    members: np.ndarray, slots: np.ndarray, jaccard: float, original: np.ndarray, similarity: np.ndarray
) -> None:
    """Decide over one cluster, in document order; writes into ``original`` and ``similarity``."""
    staying = [int(members[0])]
    for member in members[1:].tolist():
        agreement = (slots[staying] == slots[member]).mean(axis=1)
        estimates = (agreement - _CHANCE) / (1 - _CHANCE)
        reached = np.flatnonzero(estimates >= jaccard)
        if len(reached):
            original[member] = staying[reached[0]]
            similarity[member] = estimates[reached[0]]
        else:
            staying.append(member)

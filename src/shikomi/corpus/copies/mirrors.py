"""Hosts that mirror another one: most of their documents are copies of one other host's."""

from __future__ import annotations

import numpy as np

from shikomi.corpus.copies.layout import Search


def mirrors(search: Search, ranks: np.ndarray, original: np.ndarray, is_copy: np.ndarray) -> np.ndarray:
    """Which documents go because their host is a mirror, though they repeat nothing; bool [documents], by rank.

    A copy and its original count for both of their hosts, as which of two mirrors was fetched first changes from page
    to page. Of two hosts that mirror each other the one with more documents stays, or the one with the first document.
    A document that others are copies of stays always: else its text would be lost.

    Args:
        search: the search; ``page.mirror_share`` and ``page.mirror_documents`` count.
        ranks: the rank of every document.
        original: the document each repeats, or itself, by rank.
        is_copy: which repeat another, by rank.
    """
    host_key = search.by_rank(ranks, "host_key")
    hosts, first, host, sizes = np.unique(host_key, return_index=True, return_inverse=True, return_counts=True)
    del host_key
    host = host.reshape(-1).astype(np.int64)
    copies = np.flatnonzero(is_copy)
    one, other = host[copies], host[original[copies]]
    apart = (one != other) & (hosts[one] != 0) & (hosts[other] != 0)
    low, high = np.minimum(one[apart], other[apart]), np.maximum(one[apart], other[apart])
    pairs, shared = np.unique(low * len(hosts) + high, return_counts=True)
    low, high = np.divmod(pairs, len(hosts))
    # The smaller host of each pair; of equals the one whose first document comes later.
    later = np.where((sizes[low] < sizes[high]) | ((sizes[low] == sizes[high]) & (first[low] > first[high])), low, high)
    enough = (sizes[later] >= search.page.mirror_documents) & (shared >= search.page.mirror_share * sizes[later])
    mirror = np.zeros(len(hosts), dtype=bool)
    mirror[later[enough]] = True
    gone = mirror[host] & ~is_copy
    gone[original[copies]] = False
    gone[: search.num_fixed] = False
    return gone

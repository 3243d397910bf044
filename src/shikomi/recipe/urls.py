"""The URL page: which kinds of sites stay out of the corpus, by lists of hosts and addresses."""

from __future__ import annotations

from pydantic import Field

from shikomi.recipe.page import WHERE_ONLY, Page

REJECTED_CATEGORIES = (
    "adult", "shopping", "cryptojacking", "games", "redirector", "strict_redirector", "vpn", "strong_redirector",
    "social_networks", "ddos", "gambling", "publicite", "bitcoin", "dating", "phishing", "filehosting", "agressif",
    "chat", "mixed_adult", "celebrity", "financial", "manga", "remote-control", "webmail", "malware", "doh", "warez",
    "custom",
)  # fmt: skip
"""Categories that Swallow corpus v1 rejects, by the folder names of the UT1 lists of Université Toulouse Capitole.
Swallow's code writes ``mixed adult``, which no folder is called; the folder is meant."""


class UrlsPage(Page):
    """Sites by category; a host that is listed stands for all hosts under it."""

    lists: list[str] = Field(default=[], json_schema_extra=WHERE_ONLY)
    """Paths of lists: a folder laid out as UT1's (``CATEGORY/domains``, ``CATEGORY/urls``), one category's folder, or a
    plain file of hosts and addresses, one a line, whose category is ``custom``. Relative paths start at the recipe's
    folder."""
    categories: list[str] = [*REJECTED_CATEGORIES]
    """Categories whose sites are dropped; case, spaces, - and _ do not count."""
    hosts: list[str] = ["5ch.net", "wikipedia.org"]
    """Hosts that are dropped with all hosts under them, whatever the lists say; these two are Swallow corpus v1's
    (Wikipedia is better taken from its own dumps)."""
    own_list: bool = True
    """Use the short list that comes with Shikomi too: large sites of link shorteners, file sharing, social networks,
    shops, mail and adult content."""

"""The privacy page: which personal data is taken out of the text."""

from __future__ import annotations

from typing import Literal

from shikomi.recipe.page import Page

Kind = Literal["mail", "card", "my_number", "phone", "hotline", "postal_code", "address", "ipv4"]
"""What can be masked."""


class PrivacyPage(Page):
    """Personal data in kept documents is replaced by a word in brackets, such as ``【電話番号】``, and counted."""

    kinds: list[Kind] = ["mail", "card", "my_number", "phone", "postal_code", "address"]
    """What is masked; an empty list masks nothing. ``hotline`` are numbers only organisations have (0120, 0800, 0570,
    0990): not personal, so left by default. ``ipv4`` are public addresses of computers. Masked whether a person or a
    company stands behind it: ``mail``, ``phone`` (fixed, mobile and IP lines, international form), ``postal_code``
    (with 〒, or before an address), ``address`` (prefecture to house number), ``card`` (issuer's prefix and Luhn check
    digit), ``my_number`` (12 digits with the check digit of the Individual Number, Ministry ordinance No. 85 of 2014,
    article 5)."""

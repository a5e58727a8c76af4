# SPDX-License-Identifier: Apache-2.0
"""Host lists, read without the code that wrote them."""

from __future__ import annotations


def unfold(text: str) -> list[str]:
    """Names of a host list such as `rack[0001-0003,7]-tray[01-18],login`, expanded by hand.

    >>> unfold("a[1-2]b[08-10],c")
    ['a1b08', 'a1b09', 'a1b10', 'a2b08', 'a2b09', 'a2b10', 'c']
    """
    names, word, depth = [], "", 0
    for letter in text + ",":
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            names += _expand(word) if word else []
            word = ""
        else:
            word += letter
    return names


def _expand(word: str) -> list[str]:
    before, bracket, rest = word.partition("[")
    if not bracket:
        return [word]
    ranges, _, after = rest.partition("]")
    tails = _expand(after)
    numbers = []
    for part in ranges.split(","):
        low, _, high = part.partition("-")
        numbers += [str(n).zfill(len(low)) for n in range(int(low), int(high or low) + 1)]
    return [before + number + tail for number in numbers for tail in tails]

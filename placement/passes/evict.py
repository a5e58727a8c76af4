# SPDX-License-Identifier: Apache-2.0
# X rank of a hurt domain   C cell of a hurt domain   D NVLink domain   K choice of cells
"""Which cells leave a domain that lost too much, and the least number of ranks that any repair moves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np

from placement.ir._array import Bools, Ints
from placement.passes.yard import Yard

MOST = 20_000  # choices of cells that are looked at in one domain, where cells share nodes


@dataclass(frozen=True)
class Hurt:
    """The ranks of the domains that lost sites: cells in order, each in one domain. `dead_X`: their site may not be used.

    `cell`, `block`: ranks of a cell, and of the cells that fill whole sites.
    """

    cell: int
    block: int
    rank_X: Ints
    cell_X: Ints
    site_X: Ints
    dead_X: Bools
    domain_C: Ints


@dataclass(frozen=True)
class Leaving:
    """`leaves_C`: cells that leave their domain. `least`: ranks that any repair under the rules moves, at least."""

    leaves_C: Bools
    least: int


def leaving(yard: Yard, hurt: Hurt) -> Leaving:
    """The cells that leave: as few as possible from each domain, those that lost most first."""
    held_D = np.bincount(hurt.domain_C, minlength=yard.num_domains)
    kept_D = np.minimum(held_D, yard.room_D * yard.width // hurt.block * (hurt.block // hurt.cell))
    out_D = held_D - kept_D
    dead_C = hurt.dead_X.reshape(-1, hurt.cell).sum(axis=1)
    if hurt.cell % yard.width and yard.width % hurt.cell:
        return _mixed(yard, hurt, out_D, dead_C)
    leaves_C = _worst(hurt, dead_C, out_D)
    return Leaving(leaves_C, int(np.where(leaves_C, hurt.cell, dead_C).sum()))


def _worst(hurt: Hurt, dead_C: Ints, out_D: Ints) -> Bools:
    """The `out_D` cells of each domain with the most dead ranks; cells of one node stand side by side."""
    first_C = hurt.site_X[:: hurt.cell]
    order = np.lexsort((first_C, -dead_C, hurt.domain_C))
    domain_K = hurt.domain_C[order]
    place_K = np.arange(len(order)) - np.searchsorted(domain_K, domain_K)
    leaves_C = np.zeros(len(order), bool)
    leaves_C[order] = place_K < out_D[domain_K]
    return leaves_C


def _mixed(yard: Yard, hurt: Hurt, out_D: Ints, dead_C: Ints) -> Leaving:
    """Cells that share nodes without filling them: whoever leaves, the others close ranks on whole nodes.

    Every choice of cells is looked at as long as there are few; beyond, runs of neighbours, and `least` is the bound that
    counts dead ranks alone.
    """
    leaves_C = np.zeros(len(hurt.domain_C), bool)
    least = 0
    for d in np.unique(hurt.domain_C).tolist():
        cells = np.flatnonzero(hurt.domain_C == d)
        out = int(out_D[d])
        if out == 0:
            least += int(dead_C[cells].sum())
            continue
        every = math.comb(len(cells), out) <= MOST
        choices = combinations(cells.tolist(), out) if every else (np.roll(cells, -i)[:out].tolist() for i in range(len(cells)))
        found = [(_moves(yard, hurt, cells, c), c) for c in islice(choices, MOST)]
        moves, chosen = min(found)
        leaves_C[list(chosen)] = True
        dead = np.sort(dead_C[cells])[::-1]
        least += moves if every else out * hurt.cell + int(dead[out:].sum())
    return Leaving(leaves_C, least)


def _moves(yard: Yard, hurt: Hurt, cells: Ints, out: tuple[int, ...] | list[int]) -> int:
    """Ranks of a domain that move when some cells leave: all of those, and of the rest what the fullest nodes do not hold."""
    kept = np.setdiff1d(cells, out)
    site_X = hurt.site_X.reshape(-1, hurt.cell)[kept].ravel()
    site_X = site_X[yard.usable_S[site_X]]
    held = np.sort(np.unique(site_X, return_counts=True)[1])[::-1]
    stay = int(held[: len(kept) * hurt.cell // yard.width].sum())
    return len(cells) * hurt.cell - stay

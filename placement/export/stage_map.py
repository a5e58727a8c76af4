# SPDX-License-Identifier: Apache-2.0
# B block   C chunk
"""The blocks of every chunk in the words of frameworks: embedding, decoder layer, multi-token prediction, head."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from placement.diag import Diagnostic, InputError
from placement.export.case import Case
from placement.runtime import Section


class Part(StrEnum):
    """Also the letters of Megatron's layout."""

    EMBEDDING = "E"
    LAYER = "t"
    MTP = "m"
    HEAD = "L"


_KINDS = {"embedding": Part.EMBEDDING, "mtp": Part.MTP, "head": Part.HEAD}
_LAYERS = ("dense", "moe")  # also with a suffix: dense-window, moe-linear


def parts(case: Case, framework: str) -> list[list[tuple[Part, str]]]:
    """(part, name of the block) of every chunk, in order of chunks. Raises InputError for blocks that are none of `Part`."""
    layers = case.plan.bin[Section.LAYERS]
    kinds = [k.decode() for k in case.plan.bin.name_column(layers, "type_name").tolist()]
    names = [n.decode() for n in case.plan.bin.name_column(layers).tolist()]
    strange = sorted({k for k in kinds if k not in _KINDS and k.split("-")[0] not in _LAYERS})
    if strange:
        message = f"{framework} places decoder layers, and this model has blocks of other kinds"
        way_out = "use the stage table of plan.bin or `placement show DIR stages --format json` in your own training code"
        raise InputError([Diagnostic("export/unsupported-layer", message, help=way_out, objects=tuple(strange))])
    found: list[list[tuple[Part, str]]] = [[] for _ in range(case.strategy.num_chunks)]
    for chunk, kind, name in zip(layers["chunk"].tolist(), kinds, names, strict=True):
        found[chunk].append((_KINDS.get(kind, Part.LAYER), name))
    return found


def chunks_of(case: Case) -> list[list[int]]:
    """Chunks of every stage, in order."""
    stage_C = case.strategy.chunk_stage
    return [np.flatnonzero(stage_C == p).tolist() for p in range(case.strategy.pp)]


def recompute_modes(case: Case) -> list[str]:
    """The modes that the stages use, lightest first."""
    from placement.ir import RECOMPUTE

    used = set(case.plan.stages.recompute_P)
    return [mode for mode in RECOMPUTE if mode in used]

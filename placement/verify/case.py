# SPDX-License-Identifier: Apache-2.0
# R rank   N node   G slot
"""What stands before the referee: the plan as it was read, and the inputs as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from placement.ir import Cluster, Efficiency, Job, ModelGraph

Array = npt.NDArray[Any]

# Section types of plan.bin, docs/plan-format.md
STRATEGY, RANKS, HOSTS, SLOTS, DOMAINS, NICS, COMMUNICATORS, MEMBERS, STAGES, CHUNKS, LAYERS, SPARES, NAMES = range(1, 14)
NOBODY = 0xFFFFFFFF


class Binary(Protocol):
    """plan.bin with its checksums looked at: `header`, and the tables by section type."""

    @property
    def header(self) -> Any: ...
    @property
    def sections(self) -> Mapping[Any, Array]: ...


class Plan(Protocol):
    """A plan directory that was read (`placement.load_plan`)."""

    @property
    def path(self) -> Path: ...
    @property
    def json(self) -> Mapping[str, Any]: ...
    @property
    def bin(self) -> Binary: ...
    @property
    def inputs(self) -> Mapping[str, bytes]: ...


@dataclass(frozen=True)
class Degrees:
    """The strategy as plan.json states it."""

    tp: int
    cp: int
    ep: int
    etp: int
    gtp: int
    egtp: int
    dp: int
    pp: int
    vpp: int
    micro_batch: int
    num_microbatches: int
    schedule: str
    recompute: str
    sharding: str

    @property
    def stage_ranks(self) -> int:
        return self.tp * self.cp * self.dp

    @property
    def world(self) -> int:
        return self.stage_ranks * self.pp

    @property
    def edp(self) -> int:
        return self.stage_ranks // (self.etp * self.ep)


@dataclass(frozen=True)
class Case:
    """Plan and inputs. `tree` is plan.json; `table(RANKS)` a table of plan.bin."""

    plan: Plan
    cluster: Cluster
    model: ModelGraph
    job: Job
    efficiency: Efficiency

    @property
    def tree(self) -> Mapping[str, Any]:
        return self.plan.json

    def table(self, section: int) -> Array:
        return self.plan.bin.sections[section]

    def name(self, row: Any, key: str = "name") -> str:
        """A name of a record."""
        start = int(row[key])
        return self._text[start : start + int(row[f"{key}_size"])].decode()

    @cached_property
    def _text(self) -> bytes:
        return self.table(NAMES).tobytes()

    @cached_property
    def degrees(self) -> Degrees:
        """Raises ValueError where plan.json does not state a strategy."""
        tree = self.tree["strategy"]
        given = {name: tree[name] for name in Degrees.__dataclass_fields__}
        counts = {k: v for k, v in given.items() if k not in ("schedule", "recompute", "sharding")}
        if wrong := [k for k, v in counts.items() if type(v) is not int or v < 1]:
            raise ValueError(f"`{wrong[0]}` of the strategy is {counts[wrong[0]]!r}, not a positive integer")
        degrees = Degrees(**given)
        if degrees.stage_ranks % (degrees.etp * degrees.ep):
            raise ValueError(f"etp {degrees.etp} x ep {degrees.ep} does not tile the {degrees.stage_ranks} ranks of a stage")
        return degrees

    @property
    def may_split(self) -> bool:
        """Nodes may give a part of their GPUs: the job allows it, or it is smaller than a node."""
        return self.job.ragged or self.degrees.world < self.cluster.gpus_per_node

    @cached_property
    def gpu_R(self) -> Array:
        """GPU of each rank; raises ValueError where one is not in the cluster."""
        gpu_R = self.table(RANKS)["gpu"].astype(np.int64)
        if len(gpu_R) == 0 or int(gpu_R.max()) >= self.cluster.num_nodes * self.cluster.gpus_per_node:
            raise ValueError("a rank sits on a GPU that the cluster does not have")
        return gpu_R

    @cached_property
    def node_R(self) -> Array:
        return self.gpu_R // self.cluster.gpus_per_node

    @cached_property
    def default_node_R(self) -> Array:
        """Node of each rank in the launcher's default order: usable whole nodes by host name, ranks in order."""
        names, usable = self.cluster.host_N.tolist(), self.cluster.usable_NG.sum(axis=1).tolist()
        least = 1 if self.may_split else self.cluster.gpus_per_node
        by_name = sorted((n for n in range(len(names)) if usable[n] >= least), key=lambda n: _number_aware(names[n]))
        return np.array([n for n in by_name for _ in range(usable[n])][: self.degrees.world])

    @cached_property
    def coordinates(self) -> Mapping[str, Array]:
        """Coordinates of each rank by the definition of the rank order, with plain loops: tp fastest, then cp, dp, pp; within a
        stage the experts count etp fastest, then ep, edp.
        """
        d = self.degrees
        rows = [(t, c, b, p) for p in range(d.pp) for b in range(d.dp) for c in range(d.cp) for t in range(d.tp)]
        dense = np.array(rows)
        stage = np.array([(t, e, b) for b in range(d.edp) for e in range(d.ep) for t in range(d.etp)])
        expert = np.concatenate([stage] * d.pp)
        return {
            "tp": dense[:, 0], "cp": dense[:, 1], "dp": dense[:, 2], "pp": dense[:, 3],
            "etp": expert[:, 0], "ep": expert[:, 1], "edp": expert[:, 2],
            "gtp": dense[:, 2] % d.gtp, "egtp": expert[:, 2] % d.egtp,
        }  # fmt: skip

    @cached_property
    def chunk_B(self) -> Array:
        """Chunk of each block, as plan.bin states it."""
        return self.table(LAYERS)["chunk"].astype(np.int64)

    @cached_property
    def chunk_stage(self) -> list[int]:
        """Stage of each chunk by the definition of the schedule: down the stages, and back up again along a V."""
        d = self.degrees
        down = list(range(d.pp))
        if d.schedule in ("zb-v", "dualpipev"):
            return down + down[::-1]
        return down * d.vpp


def _number_aware(name: str) -> list[tuple[int, str]]:
    """Sorts `node2` before `node10`.

    >>> _number_aware("node10") > _number_aware("node2")
    True
    """
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]

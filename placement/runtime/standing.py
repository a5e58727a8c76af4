# SPDX-License-Identifier: Apache-2.0
"""A plan directory back as the values it was written from, without its inputs: what a repair keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from placement.ir import MEMORY, Candidate, Certificate, Search, StepCost, Strategy, Term, Traffic, Witness
from placement.runtime.planfile import LoadedPlan

Tree = Mapping[str, Any]


def candidate_of(loaded: LoadedPlan) -> Candidate:
    """Strategy, stages, placement, traffic and predicted cost."""
    terms = tuple(Term(t["axis"], t["kind"], np.array(t["bytes_P"], float)) for t in loaded.json["traffic"])
    return Candidate(loaded.strategy, loaded.stages, loaded.placement, Traffic(terms), _cost(loaded.json))


def _cost(tree: Tree) -> StepCost:
    told, stages = tree["predicted"], tree["stages"]
    memory_PM = np.array([[s["memory_bytes"][kind] for kind in MEMORY] for s in stages], float)
    return StepCost(
        told["step_time_s"], told["breakdown_s"], np.array([s["busy_s"] for s in stages], float), memory_PM,
        told["tokens_per_s_per_gpu"], told["mfu"], told["bytes_tier"],
    )  # fmt: skip


def certificate_of(tree: Tree) -> Certificate:
    tiers = tree["certificate"]["tiers"]
    lower, found, method = ({name: t[key] for name, t in tiers.items()} for key in ("lower_bytes", "plan_bytes", "method"))
    told = tree["certificate"]
    witness = {
        name: Witness(**w | {k: tuple(w[k]) for k in ("marks", "tolls", "prices") if k in w})
        for name, t in tiers.items()
        if (w := t.get("witness"))
    }
    return Certificate(
        lower, found, method, told["joint_bytes"], told["joint_method"], witness, tree["predicted"]["step_time_s"],
        told["step_time_s"], told["cell"], {name: t["kept_bytes"] for name, t in tiers.items() if "kept_bytes" in t},
        told["kept_joint_bytes"], told["whole_cell"], told["parted_cells"],
    )  # fmt: skip


def search_of(tree: Tree) -> Search:
    """What the search saw, with the bound on the step."""
    seen, bound = tree["search"], tree["bound"]
    runners = tuple((Strategy(**r["strategy"]), float(r["step_time_s"])) for r in seen["runners_up"])
    return Search(
        seen["enumerated"], seen["feasible"], seen["scored"], seen["rejected"], bound["step_time_s"], bound["proven"], runners,
        seen["stopped_by"],
    )  # fmt: skip

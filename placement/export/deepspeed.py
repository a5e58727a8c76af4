# SPDX-License-Identifier: Apache-2.0
"""DeepSpeed: host file in the plan's order, process topology, and weights that reproduce the pipeline split.

PipelineModule takes no list of layers. `partition_balanced` finds the cut with the most equal sums, so a layer of a stage with
n layers weighs lcm / n: every stage then weighs the same, and no other cut does.
"""

from __future__ import annotations

import json
import math

import numpy as np

from placement.diag import Diagnostic, InputError, Severity
from placement.export.case import Case, Export
from placement.export.stage_map import recompute_modes
from placement.export.text import MAX_ARGUMENT, rows
from placement.export.torchrun import refuse_scattered
from placement.runtime import Section

_ZERO = {"none": 0, "zero1": 1, "zero2": 2, "fsdp": 3}
_MAX_WEIGHT = 2**53  # DeepSpeed sums weights as floats


def export(case: Case) -> Export:
    """`hostfile`, `deepspeed.json` (topology, weights, stages), `ds_config.json`, `topology.py`."""
    _refuse(case)
    refuse_scattered(case, "deepspeed")
    s = case.strategy
    tree = {
        "plan": case.digest,
        "axes": ["pipe", "data", "model"],
        "dims": [s.pp, s.dp, s.tp],
        "expert_parallel_size": s.ep,
        "layer_weights": layer_weights(case),
        "layers_per_stage": _sizes(case),
    }
    return Export({
        "README": case.readme(
            "ranks as `placement export --to slurm` (env) says; program: PROGRAM.py --deepspeed_config ds_config.json ..."
            if _beyond_launcher(case)
            else "deepspeed --hostfile hostfile --no_ssh_check PROGRAM.py --deepspeed_config ds_config.json ...",
            "PipelineModule(topology=topology.topology(), partition_method=...): see topology.py; layers are in model order.",
        ),
        "hostfile": case.stamp() + rows(case.name_H, b" slots=", case.ranks_H, b"\n"),
        "deepspeed.json": (json.dumps(tree, indent=2, sort_keys=True) + "\n").encode(),
        "ds_config.json": _config(case),
        "topology.py": _python(case),
    }, tuple(_warnings(case)))  # fmt: skip


def layer_weights(case: Case) -> list[int]:
    """Weights of the model's layers in order, equal in sum over every stage."""
    sizes = _sizes(case)
    whole = math.lcm(*sizes)
    return [whole // size for size in sizes for _ in range(size)]


def _sizes(case: Case) -> list[int]:
    layers_P: list[int] = case.plan.bin[Section.STAGES]["num_layers"].tolist()
    return layers_P


def _refuse(case: Case) -> None:
    s, found = case.strategy, []
    if s.vpp > 1 or s.schedule != "1f1b":
        found.append(Diagnostic("export/unsupported-schedule", f"DeepSpeed's pipeline runs 1F1B with one chunk a stage, not "
                                f"{s.schedule} with {s.vpp}", help="`--pin schedule=1f1b --pin vpp=1`"))  # fmt: skip
    found += [
        Diagnostic("export/unsupported-axis", f"DeepSpeed's process topology has no {axis}", help=f"`--pin {axis}=1`")
        for axis in ("cp", "gtp", "egtp")
        if getattr(s, axis) > 1
    ]
    if s.ep > 1 and s.etp != s.tp:
        found.append(Diagnostic("export/unsupported-axis", "DeepSpeed's expert groups step over tensor groups: experts need "
                                f"etp = tp, not etp={s.etp} and tp={s.tp}", help=f"`--pin etp={s.tp}`"))  # fmt: skip
    if s.pp > 1 and _ZERO[s.sharding] > 1:
        found.append(Diagnostic("export/unsupported-axis", f"DeepSpeed's pipeline does not go with {s.sharding} (ZeRO-2 and 3)",
                                help="`--pin sharding=zero1`"))  # fmt: skip
    sizes = _sizes(case)
    if 0 in sizes or math.lcm(*sizes) * s.pp > _MAX_WEIGHT:
        found.append(Diagnostic("export/unsupported-layer", "no weights reproduce this split in DeepSpeed's balancing",
                                help="pin another `pp`"))  # fmt: skip
    if found:
        raise InputError(found)


def world_info_bytes(case: Case) -> int:
    """Length of the argument `--world_info`, in which the launcher tells every node all hosts and slots: JSON in base 64."""
    slots = sum(len(json.dumps(list(range(n)))) * int(count) for n, count in enumerate(np.bincount(case.ranks_H)) if count)
    names = int(np.char.str_len(case.name_H).sum())
    return 4 * math.ceil((names + slots + case.hosts * len('"": , ')) / 3)  # braces around weigh as much as the last comma


def _beyond_launcher(case: Case) -> bool:
    return world_info_bytes(case) > MAX_ARGUMENT


def _warnings(case: Case) -> list[Diagnostic]:
    found, modes = [], recompute_modes(case)
    if _beyond_launcher(case):
        message = (
            f"the `deepspeed` launcher names {case.hosts} hosts in an argument of {world_info_bytes(case)} bytes, and one "
        )
        way_out = "start the ranks with `--to slurm` or `--to env`: the program and its configuration stay the same"
        found.append(Diagnostic("export/needs-shim", f"{message}may have {MAX_ARGUMENT}", Severity.WARNING, help=way_out))
    if modes != ["none"]:
        message = f"the plan recomputes {' and '.join(modes)}; DeepSpeed has `activation_checkpoint_interval`, in layers"
        found.append(Diagnostic("export/recompute-differs", message, Severity.WARNING, help="1 is full recompute"))
    if case.strategy.ep > 1 and case.strategy.pp > 1:
        found.append(Diagnostic("export/version", "experts inside DeepSpeed's pipeline engine depend on the version and on the "
                                "model's own code", Severity.WARNING, help="try it at small size, or pin pp=1"))  # fmt: skip
    return found


def _config(case: Case) -> bytes:
    s, job = case.strategy, case.plan.json["job"]
    tree = {
        "train_batch_size": job["global_batch"],
        "train_micro_batch_size_per_gpu": s.micro_batch,
        "gradient_accumulation_steps": s.num_microbatches,
        "zero_optimization": {"stage": _ZERO[s.sharding]},
        "bf16": {"enabled": True},
    }
    return (json.dumps(tree, indent=2, sort_keys=True) + "\n").encode()


def _python(case: Case) -> bytes:
    assert len(layer_weights(case)) == int(np.sum(_sizes(case)))
    return f'''# placement plan {case.digest}
"""DeepSpeed's topology of the plan, and the split of its pipeline."""

import json
from pathlib import Path

PLAN = json.loads((Path(__file__).parent / "deepspeed.json").read_text())


def topology():
    """rank = model + MP * (data + DP * pipe), as in the plan."""
    from deepspeed.runtime.pipe.topology import ProcessTopology

    return ProcessTopology(axes=PLAN["axes"], dims=PLAN["dims"])


def parts():
    """First layer of every stage, and the number of layers: what PipelineModule computes from the weights."""
    from deepspeed.runtime.utils import partition_balanced

    return partition_balanced(PLAN["layer_weights"], PLAN["dims"][0])


def pipeline_module(layers, **options):
    """PipelineModule with the plan's split; `layers` are those of the plan, embedding and head included."""
    from deepspeed.runtime.pipe.module import PipelineModule

    class Planned(PipelineModule):
        def _partition_layers(self, method="uniform"):
            bounds, stage = parts(), self._topo.get_coord(self.global_rank).pipe
            self.parts = bounds
            self._set_bounds(start=bounds[stage], stop=bounds[stage + 1])

    return Planned(layers=layers, topology=topology(), **options)
'''.encode()

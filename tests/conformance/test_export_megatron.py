# SPDX-License-Identifier: Apache-2.0
"""Megatron-Core computes the plan's groups and stages from its export: every rank, on 200 strategies."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placement.export import Case
from placement.ir import Plan, Stages, Strategy
from placement.runtime import Section
from tests.exports import ask, communicators_of, exported, plan_of
from tests.plans import tiny_model

HEAVY = pytest.mark.skipif(not os.environ.get("PLACEMENT_CONFORMANCE"), reason="imports torch for minutes: `make conformance`")

PAIRED = 200  # strategies with a pipeline; those without, met on the way, are tested too


def strategies() -> list[Strategy]:
    """Foldings of up to 512 ranks over every axis of Megatron, pseudo-random but always the same."""
    rng, found, paired = np.random.default_rng(6), [], 0
    sizes = list(itertools.product((1, 2, 4), (1, 2, 3), (1, 2, 4, 8), (1, 2), (1, 2, 4, 6), (1, 2, 3, 4), (1, 2, 3)))
    for i in rng.permutation(len(sizes)):
        tp, cp, dp, etp, ep, pp, vpp = sizes[i]
        if (tp * cp * dp) % (etp * ep) == 0 and (pp > 1 or vpp == 1) and tp * cp * dp * pp <= 512:
            schedule = "interleaved" if vpp > 1 else "1f1b"
            found.append(Strategy(tp, cp, ep, etp, dp, pp, vpp, 1, 2 * pp, schedule, "none", "zero1"))
            paired += pp > 1
        if paired == PAIRED:
            return found
    raise AssertionError(len(found))


def layered(strategy: Strategy, seed: int) -> Plan:
    """A plan of that strategy: a dense and routed model, cut unevenly, in every third case with a prediction layer."""
    rng, mtp = np.random.default_rng(seed), int(seed % 3 == 0 and strategy.pp > 1)
    layers = strategy.num_chunks + int(rng.integers(0, 12))
    plan, model = plan_of(strategy), tiny_model(layers=layers, mtp=mtp)
    cuts = np.sort(rng.permutation(layers)[: strategy.num_chunks - 1]) + 1
    stages = Stages(np.searchsorted(cuts, np.arange(model.num_blocks), side="right"), ("none",) * strategy.pp)
    return dataclasses.replace(plan, model=model, chosen=dataclasses.replace(plan.chosen, stages=stages))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, dict[str, Any]]]:
    """Every strategy as a plan and what its export says."""
    found = []
    for i, strategy in enumerate(strategies()):
        case, folder = exported("megatron", layered(strategy, i), tmp_path_factory.mktemp("case"))
        found.append((case, json.loads((folder / "megatron.json").read_text())))
    return found


def told(script: str, given: object, folder: Path) -> Any:
    """What a script that reads given.json writes into told.json."""
    (folder / "given.json").write_text(json.dumps(given))
    ask(script, folder, modules=("torch", "megatron.core"))
    return json.loads((folder / "told.json").read_text())


GENERATE = """
import json
from pathlib import Path
from megatron.core.parallel_state import RankGenerator
DENSE = {"tp": "tp", "cp": "cp", "dp": "dp", "pp": "pp", "tp_cp": "tp-cp", "dp_cp": "dp-cp", "tp_pp": "tp-pp"}
EXPERT = {"etp": "tp", "ep": "ep", "edp": "dp", "etp_ep": "tp-ep", "etp_ep_pp": "tp-ep-pp"}
out = []
for tree in json.loads(Path("given.json").read_text()):
    d, e = tree["decoder"], tree["expert"]
    dense = RankGenerator(tp=d["tp"], ep=1, dp=d["dp"], pp=d["pp"], cp=d["cp"], order=tree["order"])
    expert = RankGenerator(tp=e["tp"], ep=e["ep"], dp=e["dp"], pp=e["pp"], cp=1, order=tree["order"])
    out.append({ours: dense.get_ranks(theirs) for ours, theirs in DENSE.items()}
               | {ours: expert.get_ranks(theirs) for ours, theirs in EXPERT.items()})
Path("told.json").write_text(json.dumps(out))
print(len(out))
"""


@HEAVY
def test_rank_generator(cases: list[tuple[Case, dict[str, Any]]], tmp_path: Path) -> None:
    """RankGenerator makes the communicators of plan.bin, member by member in order: 12 kinds, every rank."""
    found = told(GENERATE, [tree for _, tree in cases], tmp_path)
    for (case, _), theirs in zip(cases, found, strict=True):
        ours = [communicators_of(case, rank) for rank in range(case.world)]
        for kind, groups in theirs.items():
            assert sorted(map(tuple, groups)) == sorted({tuple(of[kind]) for of in ours}), (case.strategy, kind)


INITIALISE = """
import json
from pathlib import Path
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from megatron.core import parallel_state as ps
out = []
for tree, rank in json.loads(Path("given.json").read_text()):
    d, e = tree["decoder"], tree["expert"]
    dist.init_process_group("fake", rank=rank, world_size=tree["world_size"], store=FakeStore())
    ps.initialize_model_parallel(
        tensor_model_parallel_size=d["tp"], pipeline_model_parallel_size=d["pp"], context_parallel_size=d["cp"],
        expert_model_parallel_size=e["ep"], expert_tensor_parallel_size=e["tp"], order=tree["order"],
        virtual_pipeline_model_parallel_size=tree["virtual_pipeline_model_parallel_size"], create_gloo_process_groups=False)
    groups = {
        "tp": ps.get_tensor_model_parallel_group(), "pp": ps.get_pipeline_model_parallel_group(),
        "cp": ps.get_context_parallel_group(), "dp": ps.get_data_parallel_group(),
        "dp_cp": ps.get_data_parallel_group(with_context_parallel=True), "tp_pp": ps.get_model_parallel_group(),
        "tp_cp": ps.get_tensor_and_context_parallel_group(), "ep": ps.get_expert_model_parallel_group(),
        "etp": ps.get_expert_tensor_parallel_group(), "edp": ps.get_expert_data_parallel_group(),
        "etp_ep": ps.get_expert_tensor_and_model_parallel_group(),
        "etp_ep_pp": ps.get_expert_tensor_model_pipeline_parallel_group()}
    out.append({kind: dist.get_process_group_ranks(group) for kind, group in groups.items()})
    ps.destroy_model_parallel()
    dist.destroy_process_group()
Path("told.json").write_text(json.dumps(out))
print(len(out))
"""


@HEAVY
def test_initialize_model_parallel(cases: list[tuple[Case, dict[str, Any]]], tmp_path: Path) -> None:
    """initialize_model_parallel, under the fake process group, puts a rank into the communicators of plan.bin: 12 kinds."""
    asked = [(case, tree, 7919 * i % case.world) for i, (case, tree) in enumerate(cases)]
    found = told(INITIALISE, [(tree, rank) for _, tree, rank in asked], tmp_path)
    for (case, _, rank), theirs in zip(asked, found, strict=True):
        ours = communicators_of(case, rank)
        assert theirs == {kind: ours[kind] for kind in theirs}, (case.strategy, rank)


LAYOUT = """
import json
from pathlib import Path
from megatron.core import parallel_state
from megatron.core.transformer.enums import LayerType
from megatron.core.transformer.pipeline_parallel_layer_layout import PipelineParallelLayerLayout
out = []
for text, pp, layers, mtp in json.loads(Path("given.json").read_text()):
    layout = PipelineParallelLayerLayout.from_str(text, pp)
    layout.validate_layer_layout(num_layers=layers, mtp_num_layers=mtp)
    vpp = layout.virtual_pipeline_model_parallel_size
    parallel_state.set_virtual_pipeline_model_parallel_world_size(vpp if vpp > 1 else None)
    out.append([[[t.name for t in layout.layout[p][v]], layout.get_layer_id_list(LayerType.decoder, vp_stage=v, pp_rank=p)]
                for v in range(vpp) for p in range(pp)])
Path("told.json").write_text(json.dumps(out))
print(len(out))
"""


@HEAVY
def test_layout_parser(cases: list[tuple[Case, dict[str, Any]]], tmp_path: Path) -> None:
    """Megatron's own parser reads from the layout what the plan has in every virtual stage of every pipeline rank."""
    piped = [(case, tree["pipeline_model_parallel_layout"]) for case, tree in cases if case.strategy.pp > 1]
    assert len(piped) == PAIRED
    kinds = [Counter(case.plan.bin.name_column(case.plan.bin[Section.LAYERS], "type_name").tolist()) for case, _ in piped]
    given = [(text, c.strategy.pp, k[b"dense"] + k[b"moe"], k[b"mtp"]) for (c, text), k in zip(piped, kinds, strict=True)]
    assert {mtp for *_, mtp in given} == {0, 1}
    for (case, _), theirs in zip(piped, told(LAYOUT, given, tmp_path), strict=True):
        assert theirs == planned(case), case.strategy


def planned(case: Case) -> list[list[list[Any]]]:
    """Megatron's names of the blocks of every chunk, and the numbers of its decoder layers, from the tables of plan.bin."""
    word = {b"embedding": "embedding", b"dense": "decoder", b"moe": "decoder", b"mtp": "mtp", b"head": "loss"}
    layers, chunks = case.plan.bin[Section.LAYERS], case.plan.bin[Section.CHUNKS]
    names = [word[kind] for kind in case.plan.bin.name_column(layers, "type_name").tolist()]
    numbers = np.cumsum([name == "decoder" for name in names]) - 1
    found = []
    for c in chunks:
        rows = range(int(c["first_layer"]), int(c["first_layer"] + c["num_layers"]))
        found.append([[names[i] for i in rows], [int(numbers[i]) for i in rows if names[i] == "decoder"]])
    return found

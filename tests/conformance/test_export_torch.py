# SPDX-License-Identifier: Apache-2.0
"""torch, torchrun, Megatron-Core, torchtitan and DeepSpeed compute the plan's groups and stages from its exports."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from placement.export.megatron import layout_text
from placement.export.torchtitan import modules_of
from placement.ir import Placement, Plan, Stages, Strategy
from tests.exports import ask, case_of, exported, host_of, interpreter, slot_of, small_plan
from tests.native import build
from tests.plans import tiny_cluster, tiny_plan

HEAVY = pytest.mark.skipif(not os.environ.get("PLACEMENT_CONFORMANCE"), reason="imports torch for minutes: `make conformance`")

GLOO = """
import json, os, subprocess, sys
from pathlib import Path
import torch, torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
rows = [l.split() for l in Path("ranks.tsv").read_text().splitlines() if not l.startswith("#")]
shape, axis = json.loads(sys.argv[1]), json.loads(sys.argv[2])
children = []
for host, slot, rank, local, size, group in rows:
    pid = os.fork()
    if pid:
        children.append(pid)
        continue
    if len(sys.argv) > 4:  # the environment that placement-exec gives this host and slot
        words = [sys.argv[4], "--host", host, "--slot", local, "--local-size", size, sys.argv[5]]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        os.environ |= dict(line.split("=", 1) for line in told.splitlines())
    else:
        os.environ |= {"RANK": rank, "WORLD_SIZE": str(len(rows)), "LOCAL_RANK": local, "LOCAL_WORLD_SIZE": size}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[3]}
    dist.init_process_group("gloo", init_method="env://")
    mesh = DeviceMesh("cpu", torch.arange(len(rows)).reshape(shape), mesh_dim_names=axis)
    told = {"rank": dist.get_rank(), "host": host, "slot": int(slot), "coordinate": mesh.get_coordinate(), "groups": {}}
    for name in axis:
        ranks = torch.tensor([dist.get_rank()])
        found = [torch.empty_like(ranks) for _ in range(mesh.get_group(name).size())]
        dist.all_gather(found, ranks, group=mesh.get_group(name))
        told["groups"][name] = [int(r) for r in found]
    Path(f"rank-{rank}.json").write_text(json.dumps(told))
    dist.barrier()
    os._exit(0)
codes = [os.waitpid(pid, 0)[1] for pid in children]
print(json.dumps(codes))
"""


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@HEAVY
@pytest.mark.parametrize("shim", [False, True], ids=["table", "placement-exec"])
def test_sixteen_shuffled_ranks_with_gloo(tmp_path: Path, shim: bool) -> None:
    """env:// with the exported table, and through placement-exec: ranks, coordinates, members of every group are the plan's."""
    plan = small_plan(leafs=2, nodes=2, gpus=4)
    case, folder = exported("env", plan, tmp_path)
    s, axes = case.strategy, ["pp", "dp", "cp", "tp"]
    words = [json.dumps([s.size(a) for a in axes]), json.dumps(axes), free_port()]
    words += [build("placement/runtime/placement_exec.c"), case.plan.path] if shim else []
    codes = ask(GLOO, folder, *words, modules=("torch",))
    assert codes == [0] * case.world
    at = s.coordinates(np.arange(case.world))
    for rank in range(case.world):
        told = json.loads((folder / f"rank-{rank}.json").read_text())
        assert (told["rank"], told["host"], told["slot"]) == (rank, host_of(case)[rank], slot_of(case)[rank])
        assert told["coordinate"] == [int(at[a][rank]) for a in axes]
        for axis in axes:
            group = next(row for row in s.groups(axis).tolist() if rank in row)
            assert told["groups"][axis] == group


@HEAVY
def test_torchrun_static(tmp_path: Path) -> None:
    """Four torchrun launchers, started in another order, give every rank the host and slot of the plan."""
    case, folder = exported("torchrun", small_plan(leafs=2, nodes=2, gpus=4, whole_nodes=True), tmp_path)
    python = interpreter("torch")
    report = folder / "report.py"
    report.write_text(
        "import json, os\nfrom pathlib import Path\nkeys = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'PLACEMENT_HOST')\n"
        "Path(f\"told-{os.environ['RANK']}.json\").write_text(json.dumps([os.environ[k] for k in keys]))\n"
    )
    env = os.environ | {
        "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    children = [
        subprocess.Popen(
            ["sh", folder / "start.sh", report], cwd=folder, env=env | {"PLACEMENT_HOST": host}, stdin=subprocess.DEVNULL
        )
        for host in sorted(set(host_of(case)), reverse=True)
    ]
    assert [child.wait(240) for child in children] == [0] * case.hosts
    told = [json.loads((folder / f"told-{r}.json").read_text()) for r in range(case.world)]
    assert told == [[str(r), str(slot_of(case)[r]), str(case.world), host_of(case)[r]] for r in range(case.world)]


def strategies(count: int) -> list[Strategy]:
    """Foldings of up to 512 ranks over every axis of Megatron, pseudo-random but always the same."""
    rng, found = np.random.default_rng(6), []
    sizes = list(itertools.product((1, 2, 4), (1, 2, 3), (1, 2, 4, 8), (1, 2), (1, 2, 4, 6), (1, 2, 4), (1, 2)))
    for i in rng.permutation(len(sizes)):
        tp, cp, dp, etp, ep, pp, vpp = sizes[i]
        if (tp * cp * dp) % (etp * ep) == 0 and (pp > 1 or vpp == 1) and tp * cp * dp * pp <= 512:
            schedule = "interleaved" if vpp > 1 else "1f1b"
            found.append(Strategy(tp, cp, ep, etp, dp, pp, vpp, 1, 2 * pp, schedule, "none", "zero1"))
        if len(found) == count:
            return found
    raise AssertionError(len(found))


def plan_of(strategy: Strategy) -> Plan:
    """A plan of that strategy, without prices."""
    cluster = tiny_cluster(leafs=1, nodes=strategy.world_size, gpus=1)
    base = tiny_plan()
    blocks = base.model.num_blocks
    chunk_B = np.arange(blocks) * strategy.num_chunks // blocks
    stages = Stages(chunk_B, ("none",) * strategy.pp)
    cost = dataclasses.replace(
        base.chosen.cost, stage_s_P=np.ones(strategy.pp), memory_PM=np.ones((strategy.pp, base.chosen.cost.memory_PM.shape[1]))
    )
    placement = Placement(np.arange(strategy.world_size))
    chosen = dataclasses.replace(base.chosen, strategy=strategy, stages=stages, placement=placement, cost=cost)
    return dataclasses.replace(base, cluster=cluster, chosen=chosen, baseline=cost)


MEGATRON = """
import json, sys
from pathlib import Path
from megatron.core.parallel_state import RankGenerator
out = []
for tree in json.loads(Path("all.json").read_text()):
    d, e = tree["decoder"], tree["expert"]
    dense = RankGenerator(tp=d["tp"], ep=1, dp=d["dp"], pp=d["pp"], cp=d["cp"], order=tree["order"])
    expert = RankGenerator(tp=e["tp"], ep=e["ep"], dp=e["dp"], pp=e["pp"], cp=1, order=tree["order"])
    out.append({axis: dense.get_ranks(axis) for axis in ("tp", "cp", "dp", "pp")}
               | {ours: expert.get_ranks(theirs) for ours, theirs in (("etp", "tp"), ("ep", "ep"), ("edp", "dp"))})
Path("groups.json").write_text(json.dumps(out))
print(len(out))
"""


@HEAVY
def test_megatron_groups(tmp_path: Path) -> None:
    """Megatron-Core's RankGenerator makes the plan's groups, on 200 strategies and 7 axes."""
    found = strategies(200)
    trees = []
    for i, strategy in enumerate(found):
        _, folder = exported("megatron", plan_of(strategy), tmp_path / str(i))
        trees.append(json.loads((folder / "megatron.json").read_text()))
    (tmp_path / "all.json").write_text(json.dumps(trees))
    assert ask(MEGATRON, tmp_path, modules=("torch", "megatron.core")) == 200
    for strategy, groups in zip(found, json.loads((tmp_path / "groups.json").read_text()), strict=True):
        for axis, ranks in groups.items():
            assert sorted(map(tuple, ranks)) == sorted(map(tuple, strategy.groups(axis).tolist())), (strategy, axis)


INITIALISE = """
import json, sys
from pathlib import Path
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from megatron.core import parallel_state as ps
members = dist.get_process_group_ranks
out = []
for tree, rank in json.loads(Path("all.json").read_text()):
    d, e = tree["decoder"], tree["expert"]
    dist.init_process_group("fake", rank=rank, world_size=tree["world_size"], store=FakeStore())
    ps.initialize_model_parallel(
        tensor_model_parallel_size=d["tp"], pipeline_model_parallel_size=d["pp"], context_parallel_size=d["cp"],
        expert_model_parallel_size=e["ep"], expert_tensor_parallel_size=e["tp"], order=tree["order"],
        virtual_pipeline_model_parallel_size=tree["virtual_pipeline_model_parallel_size"], create_gloo_process_groups=False)
    out.append({
        "tp": members(ps.get_tensor_model_parallel_group()), "pp": members(ps.get_pipeline_model_parallel_group()),
        "cp": members(ps.get_context_parallel_group()), "dp": members(ps.get_data_parallel_group()),
        "ep": members(ps.get_expert_model_parallel_group()), "etp": members(ps.get_expert_tensor_parallel_group()),
        "edp": members(ps.get_expert_data_parallel_group())})
    ps.destroy_model_parallel()
    dist.destroy_process_group()
Path("groups.json").write_text(json.dumps(out))
print(len(out))
"""


@HEAVY
def test_megatron_initialises(tmp_path: Path) -> None:
    """initialize_model_parallel under the fake process group gives a rank the plan's groups, on 200 strategies and 7 axes."""
    found, asked = strategies(200), []
    for i, strategy in enumerate(found):
        _, folder = exported("megatron", plan_of(strategy), tmp_path / str(i))
        asked.append((json.loads((folder / "megatron.json").read_text()), (7919 * i) % strategy.world_size))
    (tmp_path / "all.json").write_text(json.dumps(asked))
    assert ask(INITIALISE, tmp_path, modules=("torch", "megatron.core")) == 200
    told = json.loads((tmp_path / "groups.json").read_text())
    for strategy, (_, rank), groups in zip(found, asked, told, strict=True):
        for axis, ranks in groups.items():
            assert ranks == next(row for row in strategy.groups(axis).tolist() if rank in row), (strategy, axis, rank)


LAYOUT = """
import json, sys
from pathlib import Path
from megatron.core import parallel_state
from megatron.core.transformer.enums import LayerType
from megatron.core.transformer.pipeline_parallel_layer_layout import PipelineParallelLayerLayout
out = []
for text, pp, layers, mtp in json.loads(Path("layouts.json").read_text()):
    layout = PipelineParallelLayerLayout.from_str(text, pp)
    layout.validate_layer_layout(num_layers=layers, mtp_num_layers=mtp)
    vpp = layout.virtual_pipeline_model_parallel_size
    parallel_state.set_virtual_pipeline_model_parallel_world_size(vpp if vpp > 1 else None)
    out.append([[[t.name for t in layout.layout[p][v]], layout.get_layer_id_list(LayerType.decoder, vp_stage=v, pp_rank=p)]
                for v in range(vpp) for p in range(pp)])
print(json.dumps(out))
"""


@HEAVY
def test_megatron_layouts(tmp_path: Path) -> None:
    """Megatron's own parser reads from the layout the layers of every virtual stage that the plan has there."""
    given, want = [], []
    for i, (pp, vpp, layers) in enumerate([(2, 1, 4), (2, 2, 6), (4, 1, 9), (4, 3, 22), (3, 2, 11)]):
        plan = layered(pp, vpp, layers)
        case = case_of(plan, tmp_path / str(i))
        given.append([layout_text(case), pp, layers, 0])
        chunks = [np.flatnonzero(plan.chosen.stages.chunk_B == c) for c in range(pp * vpp)]
        want.append([[int(b) - 1 for b in blocks if 0 < b <= layers] for blocks in chunks])
    (tmp_path / "layouts.json").write_text(json.dumps(given))
    told = ask(LAYOUT, tmp_path, modules=("torch", "megatron.core"))
    assert [[ids for _, ids in stages] for stages in told] == want
    assert all(stages[0][0][0] == "embedding" and stages[-1][0][-1] == "loss" for stages in told)


def layered(pp: int, vpp: int, layers: int) -> Plan:
    """A dense and routed model of so many layers, cut unevenly."""
    from tests.plans import tiny_model

    s = Strategy(1, 1, 1, 1, 2, pp, vpp, 1, 2 * pp, "interleaved" if vpp > 1 else "1f1b", "none", "zero1")
    plan, model = plan_of(s), tiny_model(layers=layers)
    cuts = np.sort(np.random.default_rng(pp * 10 + vpp).permutation(layers + 1)[: pp * vpp - 1]) + 1
    chunk_B = np.searchsorted(cuts, np.arange(model.num_blocks), side="right")
    chosen = dataclasses.replace(plan.chosen, stages=Stages(chunk_B, ("none",) * pp))
    return dataclasses.replace(plan, model=model, chosen=chosen)


TITAN = """
import importlib.util, json, sys, types
from pathlib import Path
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torchtitan.config.configs import ParallelismConfig
from torchtitan.distributed.parallel_dims import ParallelDims
spec = importlib.util.spec_from_file_location("placement_config", "placement_config.py")
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
part = types.SimpleNamespace
config = module.apply(part(parallelism=ParallelismConfig(), training=part(), activation_checkpoint=part()))
world, rank = int(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("fake", rank=rank, world_size=world, store=FakeStore())
dims = ParallelDims.from_config(config.parallelism, world)
dims.build_mesh()
out = {}
for name in ("tp", "cp", "pp", "ep", "batch"):
    mesh = dims.get_optional_mesh(name)
    out[name] = None if mesh is None else dist.get_process_group_ranks(mesh.get_group())
out["modules"] = config.parallelism.module_fqns_per_model_part
print(json.dumps(out))
"""


@HEAVY
@pytest.mark.parametrize("rank", [0, 13, 47])
def test_torchtitan_mesh(tmp_path: Path, rank: int) -> None:
    """ParallelDims of the exported config gives a rank the plan's groups along every axis; modules are the plan's stages."""
    s = Strategy(2, 2, 8, 1, 4, 3, 1, 1, 6, "1f1b", "none", "fsdp")
    case, folder = exported("torchtitan", plan_of(s), tmp_path)
    told = ask(TITAN, folder, case.world, rank, modules=("torch", "torchtitan"))
    for ours, theirs in {"tp": "tp", "cp": "cp", "dp": "batch", "pp": "pp", "ep": "ep"}.items():
        group = next(row for row in s.groups(ours).tolist() if rank in row)
        assert told[theirs] == group, ours
    assert told["modules"] == modules_of(case)


DEEPSPEED = """
import json, sys
sys.path.insert(0, ".")
import topology
from deepspeed.utils.groups import _get_expert_parallel_ranks
t = topology.topology()
coordinates = [[t.get_coord(r).pipe, t.get_coord(r).data, t.get_coord(r).model] for r in range(t.world_size())]
sizes = (t.get_dim("model"), topology.PLAN["expert_parallel_size"], t.get_dim("pipe"))
ep, edp = _get_expert_parallel_ranks(t.world_size(), *sizes)
from deepspeed.launcher.runner import fetch_hostfile
print(json.dumps({"coordinates": coordinates, "parts": [int(p) for p in topology.parts()], "ep": ep, "edp": edp,
                  "hosts": list(fetch_hostfile("hostfile").items())}))
"""


@HEAVY
def test_deepspeed_topology(tmp_path: Path) -> None:
    """ProcessTopology has the plan's coordinates, partition_balanced its cut, groups its experts, the host file its order."""
    s = Strategy(4, 1, 2, 4, 4, 2, 1, 1, 4, "1f1b", "none", "zero1")
    plan = small_plan(whole_nodes=True)
    stages = Stages(np.array([0, 0, 0, 0, 1, 1]), ("none", "none"))
    chosen = dataclasses.replace(plan.chosen, strategy=s, stages=stages, cost=plan_of(s).chosen.cost)
    plan = dataclasses.replace(plan, chosen=chosen)
    case, folder = exported("deepspeed", plan, tmp_path)
    told = ask(DEEPSPEED, folder, modules=("torch", "deepspeed"))
    at = s.coordinates(np.arange(s.world_size))
    assert told["coordinates"] == np.stack([at["pp"], at["dp"], at["tp"]], axis=1).tolist()
    assert told["parts"] == [0, 4, 6]
    assert sorted(told["ep"]) == sorted(s.groups("ep").tolist())
    assert sorted(told["edp"]) == sorted(s.groups("edp").tolist())
    assert told["hosts"] == [[host, 4] for host in host_of(case)[::4]]

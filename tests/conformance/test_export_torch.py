# SPDX-License-Identifier: Apache-2.0
"""torch, torchrun, Megatron-Core, torchtitan and DeepSpeed compute the plan's groups and stages from its exports."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from placement.export import Case
from placement.export.deepspeed import world_info_bytes
from placement.export.torchtitan import modules_of
from placement.ir import Stages, Strategy
from tests.exports import ask, communicators_of, exported, free_port, host_of, interpreter, plan_of, slot_of, small_plan
from tests.native import build

HEAVY = pytest.mark.skipif(not os.environ.get("PLACEMENT_CONFORMANCE"), reason="imports torch for minutes: `make conformance`")

TELL = """
import json, os
from pathlib import Path
import torch, torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
def tell(shape, axis, **more):
    dist.init_process_group("gloo", init_method="env://")
    mesh = DeviceMesh("cpu", torch.arange(dist.get_world_size()).reshape(shape), mesh_dim_names=axis)
    told = more | {"rank": dist.get_rank(), "coordinate": mesh.get_coordinate(), "groups": {}}
    told |= {name: int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")}
    for name in axis:
        ranks = torch.tensor([dist.get_rank()])
        found = [torch.empty_like(ranks) for _ in range(mesh.get_group(name).size())]
        dist.all_gather(found, ranks, group=mesh.get_group(name))
        told["groups"][name] = [int(r) for r in found]
    Path(f"rank-{dist.get_rank()}.json").write_text(json.dumps(told))
    dist.barrier()
"""

FORK = (
    TELL
    + """
import subprocess, sys
rows = [l.split() for l in Path("ranks.tsv").read_text().splitlines() if not l.startswith("#")]
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
    tell(json.loads(sys.argv[1]), json.loads(sys.argv[2]), host=host, slot=int(slot))
    os._exit(0)
codes = [os.waitpid(pid, 0)[1] for pid in children]
print(json.dumps(codes))
"""
)
AXES = ["pp", "dp", "cp", "tp"]  # of the mesh, the slowest first


def compare(case: Case, folder: Path) -> None:
    """What every rank said: host, slot, mesh coordinate and the members of its groups are the plan's."""
    at, known = case.strategy.coordinates(np.arange(case.world)), {"WORLD_SIZE": case.world, "LOCAL_WORLD_SIZE": case.slots}
    for rank in range(case.world):
        told = json.loads((folder / f"rank-{rank}.json").read_text())
        assert (told["host"], told["slot"], told["LOCAL_RANK"]) == (host_of(case)[rank], *[slot_of(case)[rank]] * 2)
        assert {k: told[k] for k in known} == known
        assert told["rank"] == told["RANK"] == rank
        assert told["coordinate"] == [int(at[a][rank]) for a in AXES]
        assert told["groups"] == {axis: communicators_of(case, rank)[axis] for axis in AXES}


@HEAVY
@pytest.mark.parametrize("shim", [False, True], ids=["table", "placement-exec"])
def test_sixteen_shuffled_ranks_with_gloo(tmp_path: Path, shim: bool) -> None:
    """env:// with the exported table, and through placement-exec: ranks, coordinates, members of every group are the plan's."""
    case, folder = exported("env", small_plan(leafs=2, nodes=2, gpus=4), tmp_path)
    words = [json.dumps([case.strategy.size(a) for a in AXES]), json.dumps(AXES), free_port()]
    words += [build("placement/runtime/placement_exec.c"), case.plan.path] if shim else []
    assert ask(FORK, folder, *words, modules=("torch",)) == [0] * case.world
    compare(case, folder)


@HEAVY
def test_torchrun_static(tmp_path: Path) -> None:
    """Four torchrun launchers, started in another order: every rank has the host, slot, coordinates and groups of the plan."""
    case, folder = exported("torchrun", small_plan(leafs=2, nodes=2, gpus=4, whole_nodes=True), tmp_path)
    python, shape = interpreter("torch"), [case.strategy.size(a) for a in AXES]
    place = "host=os.environ['PLACEMENT_HOST'], slot=int(os.environ['LOCAL_RANK'])"
    (folder / "program.py").write_text(f"{TELL}\ntell({shape}, {AXES}, {place})\ndist.destroy_process_group()\n")
    env = os.environ | {"PATH": f"{Path(python).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = [
        subprocess.Popen(
            ["sh", "start.sh", "program.py"], cwd=folder, env=env | {"PLACEMENT_HOST": h}, stdin=subprocess.DEVNULL
        )
        for h in sorted(set(host_of(case)), reverse=True)
    ]
    assert [child.wait(600) for child in children] == [0] * case.hosts
    compare(case, folder)


TITAN = """
import importlib.util, json, sys, types
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torchtitan.config.configs import ParallelismConfig
from torchtitan.distributed.parallel_dims import ParallelDims
spec = importlib.util.spec_from_file_location("placement_config", "placement_config.py")
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
part = types.SimpleNamespace
config = module.apply(part(parallelism=ParallelismConfig(), training=part(), activation_checkpoint=part()))
world, told = int(sys.argv[1]), []
for rank in range(world):
    dist.init_process_group("fake", rank=rank, world_size=world, store=FakeStore())
    dims = ParallelDims.from_config(config.parallelism, world)
    dims.build_mesh()
    meshes = {name: dims.get_optional_mesh(name) for name in ("tp", "cp", "pp", "ep", "batch")}
    told.append({name: mesh and dist.get_process_group_ranks(mesh.get_group()) for name, mesh in meshes.items()})
    dist.destroy_process_group()
print(json.dumps({"ranks": told, "modules": config.parallelism.module_fqns_per_model_part}))
"""


@HEAVY
def test_torchtitan_mesh(tmp_path: Path) -> None:
    """ParallelDims of the exported config gives all 48 ranks the plan's groups on 5 axes; modules are the plan's stages."""
    s = Strategy(2, 2, 8, 1, 4, 3, 1, 1, 6, "1f1b", "none", "fsdp")
    case, folder = exported("torchtitan", plan_of(s), tmp_path)
    told = ask(TITAN, folder, case.world, modules=("torch", "torchtitan"))
    for rank, groups in enumerate(told["ranks"]):
        for ours, theirs in {"tp": "tp", "cp": "cp", "dp": "batch", "pp": "pp", "ep": "ep"}.items():
            assert groups[theirs] == communicators_of(case, rank)[ours], (rank, ours)
    assert told["modules"] == modules_of(case)


DEEPSPEED = """
import json, os, sys
sys.path.insert(0, ".")
import deepspeed, topology, torch
import torch.distributed as dist
from deepspeed.launcher.runner import encode_world_info, fetch_hostfile
from deepspeed.utils.groups import _get_expert_parallel_ranks
from torch.testing._internal.distributed.fake_pg import FakeStore
sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # it would compile one for the processor
t = topology.topology()
coordinates = [[t.get_coord(r).pipe, t.get_coord(r).data, t.get_coord(r).model] for r in range(t.world_size())]
sizes = (t.get_dim("model"), topology.PLAN["expert_parallel_size"], t.get_dim("pipe"))
ep, edp = _get_expert_parallel_ranks(t.world_size(), *sizes)
stages = []
for rank in range(t.world_size()):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank % 4), "WORLD_SIZE": str(t.world_size())}
    dist.init_process_group("fake", rank=rank, world_size=t.world_size(), store=FakeStore())
    deepspeed.init_distributed(dist_backend="fake", auto_mpi_discovery=False)
    module = topology.pipeline_module([torch.nn.Identity() for _ in topology.PLAN["layer_weights"]])
    bounds, grid = (module._local_start, module._local_stop), module._grid
    stages.append([*map(int, bounds), [int(r) for r in grid.pp_group], [int(r) for r in grid.dp_group]])
    deepspeed.comm.comm.cdb = None
    dist.destroy_process_group()
hosts = fetch_hostfile("hostfile")
print(json.dumps({"coordinates": coordinates, "parts": [int(p) for p in topology.parts()], "ep": ep, "edp": edp,
                  "stages": stages, "hosts": list(hosts.items()),
                  "argument": len(encode_world_info({h: list(range(n)) for h, n in hosts.items()}))}))
"""


@HEAVY
def test_deepspeed_topology(tmp_path: Path) -> None:
    """ProcessTopology has the plan's coordinates, PipelineModule its cut and groups, the host file its order."""
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
    groups = [communicators_of(case, rank) for rank in range(case.world)]
    assert told["stages"] == [[*((4, 6) if at["pp"][r] else (0, 4)), g["pp"], g["dp"]] for r, g in enumerate(groups)]
    assert sorted(told["ep"]) == sorted(s.groups("ep").tolist())
    assert sorted(told["edp"]) == sorted(s.groups("edp").tolist())
    assert told["argument"] == world_info_bytes(case)
    assert told["hosts"] == [[host, 4] for host in host_of(case)[::4]]

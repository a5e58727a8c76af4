# SPDX-License-Identifier: Apache-2.0
"""JAX with 64 CPU devices builds the plan's mesh: every shard on the GPU that the plan names."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np

from tests.exports import ask, exported, free_port, host_of, interpreter, slot_of, small_plan

SCRIPT = """
import json, os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=64"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, ".")
import jax, jax.numpy as jnp
import placement_mesh as p
from functools import partial
from jax.sharding import NamedSharding, PartitionSpec
mesh, expert = p.mesh(), p.mesh(experts=True)
ranks = jax.device_put(jnp.arange(64).reshape(mesh.devices.shape), NamedSharding(mesh, PartitionSpec(*mesh.axis_names)))
shards = {int(s.data.ravel()[0]): s.device.id for s in ranks.addressable_shards}
def around(axis, m):
    spec, n = PartitionSpec(*m.axis_names), m.shape[axis]
    step = partial(jax.lax.ppermute, axis_name=axis, perm=[(i, (i + 1) % n) for i in range(n)])
    moved = jax.jit(jax.shard_map(step, mesh=m, in_specs=spec, out_specs=spec))(jnp.arange(64).reshape(m.devices.shape))
    return moved.ravel().tolist()
print(json.dumps({"shards": [shards[r] for r in range(64)], "dp": around("dp", mesh), "ep": around("ep", expert),
                  "processes": {h: p.process(h) for h in sys.argv[1:]}}))
"""


def test_mesh_of_64_devices(tmp_path: Path) -> None:
    """Shards lie on the plan's devices, and neighbours along dp and ep are the plan's neighbours."""
    case, folder = exported("jax", small_plan(leafs=4), tmp_path)
    hosts = sorted(set(host_of(case)))
    told = ask(SCRIPT, folder, *hosts, modules=("jax",))
    number = {host: told["processes"][host][0] for host in hosts}
    assert sorted(number.values()) == list(range(case.hosts))
    assert all(told["processes"][host][1] == [0, 1, 2, 3] for host in hosts)
    want = [number[host] * 4 + slot for host, slot in zip(host_of(case), slot_of(case), strict=True)]
    assert told["shards"] == want
    for axis in ("dp", "ep"):
        sender_R = np.empty(case.world, int)
        for group in case.strategy.groups(axis):
            sender_R[group] = np.roll(group, 1)
        assert told[axis] == sender_R.tolist()


PROCESS = """
import json, os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, ".")
import jax, numpy as np
import placement_mesh as p
from pathlib import Path
from jax.sharding import NamedSharding, PartitionSpec
jax.config.update("jax_cpu_collectives_implementation", "gloo")
p.COORDINATOR = "127.0.0.1"
p.initialize(port=int(sys.argv[1]))
mesh = p.mesh()
ranks, cut = np.arange(mesh.size).reshape(mesh.devices.shape), NamedSharding(mesh, PartitionSpec(*mesh.axis_names))
mine = jax.make_array_from_callback(ranks.shape, cut, lambda part: ranks[part])
shards = {int(s.data.ravel()[0]): s.device.local_hardware_id for s in mine.addressable_shards}
total = int(jax.jit(jax.numpy.sum, out_shardings=NamedSharding(mesh, PartitionSpec()))(mine))
Path(os.environ["PLACEMENT_HOST"] + ".json").write_text(json.dumps([jax.process_index(), total, sorted(shards.items())]))
"""


def test_a_process_on_every_host(tmp_path: Path) -> None:
    """4 processes with the exported ids join: each has its host's ranks on their slots, and a sum goes over all of them."""
    case, folder = exported("jax", small_plan(leafs=2, nodes=2), tmp_path)
    hosts, port = host_of(case), str(free_port())
    words = [interpreter("jax"), "-W", "ignore", "-c", PROCESS, port]
    children = {
        host: subprocess.Popen(words, cwd=folder, env=os.environ | {"PLACEMENT_HOST": host}, stdout=subprocess.DEVNULL)
        for host in sorted(set(hosts))
    }
    assert {host: child.wait(300) for host, child in children.items()} == dict.fromkeys(children, 0)
    order = list(dict.fromkeys(hosts))  # the number of a host is that of its smallest rank
    for host in children:
        ranks = [r for r in range(case.world) if hosts[r] == host]
        told = json.loads((folder / f"{host}.json").read_text())
        assert told == [order.index(host), sum(range(case.world)), [[r, slot_of(case)[r]] for r in ranks]]

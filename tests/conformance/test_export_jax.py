# SPDX-License-Identifier: Apache-2.0
"""JAX with 64 CPU devices builds the plan's mesh: every shard on the GPU that the plan names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.exports import ask, exported, host_of, slot_of, small_plan

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

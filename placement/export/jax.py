# SPDX-License-Identifier: Apache-2.0
# R rank   H host
"""JAX: one process a host, its id the plan's host number; and the mesh as an array of device ids.

JAX is the one framework that honours a permuted mesh exactly (0.10.2, 64 devices).
"""

from __future__ import annotations

import io

import numpy as np

from placement.export.case import Case, Export
from placement.export.text import rows
from placement.ir._array import Ints

AXES = ("pp", "dp", "cp", "tp")
EXPERT_AXES = ("pp", "edp", "ep", "etp")


def export(case: Case) -> Export:
    """`processes.tsv` (host, process id, GPU slots), `mesh.npy` (device ids, int32, by AXES), `placement_mesh.py`."""
    note = "mesh.npy: device ids by pp, dp, cp, tp; MaxText takes no mesh: start one process a rank with process_id = rank."
    return Export({
        "README": case.readme("in every process: import placement_mesh as p; p.initialize(); mesh = p.mesh()", note),
        "processes.tsv": case.stamp() + b"# host\tprocess_id\tslots\n" + _processes(case),
        "mesh.npy": _npy(device_ids(case).reshape([case.strategy.size(a) for a in AXES]).astype(np.int32)),
        "placement_mesh.py": _python(case),
    })  # fmt: skip


def device_ids(case: Case) -> Ints:
    """Global device id of each rank: processes in order of their ids, in each the plan's GPUs in order of slots."""
    order = np.lexsort((case.slot_R, case.group_R))
    id_R = np.empty(case.world, np.int64)
    id_R[order] = np.arange(case.world)
    return id_R


def _processes(case: Case) -> bytes:
    order = np.lexsort((case.slot_R, case.group_R))
    start_H = np.r_[0, np.cumsum(case.ranks_H)[:-1]]
    used_HG = np.zeros((case.hosts, case.slots), bool)
    used_HG[case.group_R[order], case.slot_R[order]] = True
    assert len(start_H) == case.hosts
    texts = {row.tobytes(): ",".join(map(str, np.flatnonzero(row))).encode() for row in np.unique(used_HG, axis=0)}
    slots_H = np.array([texts[row.tobytes()] for row in used_HG])
    return rows(case.name_H, b"\t", np.arange(case.hosts), b"\t", slots_H, b"\n")


def _npy(array: Ints) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _python(case: Case) -> bytes:
    sizes = {a: [case.strategy.size(x) for x in axes] for a, axes in (("AXES", AXES), ("EXPERT_AXES", EXPERT_AXES))}
    return f'''# placement plan {case.digest}
"""The plan for JAX: `initialize()` once in every process (one a host), then `mesh()`."""

import os
import socket
from pathlib import Path

import numpy as np

DIGEST = "{case.digest}"
COORDINATOR = "{case.master}"
AXES, SHAPE = {AXES!r}, {tuple(sizes["AXES"])!r}
EXPERT_AXES, EXPERT_SHAPE = {EXPERT_AXES!r}, {tuple(sizes["EXPERT_AXES"])!r}
HERE = Path(__file__).parent


def process(host=None):
    """(process id, GPU slots) of this host. Raises KeyError for a host that is not in the plan."""
    host = host or os.environ.get("PLACEMENT_HOST") or socket.gethostname()
    lines = (line.split() for line in (HERE / "processes.tsv").read_text().splitlines() if not line.startswith("#"))
    table = {{name: (int(number), [int(s) for s in slots.split(",")]) for name, number, slots in lines}}
    return table[host] if host in table else table[host.split(".")[0]]


def initialize(host=None, port=29500, **options):
    """jax.distributed.initialize with the process id of the plan."""
    import jax

    number, slots = process(host)
    jax.distributed.initialize(f"{{COORDINATOR}}:{{port}}", {case.hosts}, number, local_device_ids=slots, **options)


def device_ids():
    """Device id at every coordinate, by AXES."""
    return np.load(HERE / "mesh.npy")


def mesh(experts=False, devices=None):
    """jax.sharding.Mesh of the plan by AXES, or by EXPERT_AXES."""
    import jax

    devices = jax.devices() if devices is None else devices
    if len(devices) != {case.world}:
        raise ValueError(f"plan {{DIGEST[:16]}} has {case.world} ranks, and JAX sees {{len(devices)}} devices")
    ordered = np.array(sorted(devices, key=lambda d: d.id), dtype=object)[device_ids().ravel()]
    return jax.sharding.Mesh(ordered.reshape(EXPERT_SHAPE if experts else SHAPE), EXPERT_AXES if experts else AXES)
'''.encode()

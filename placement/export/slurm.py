# SPDX-License-Identifier: Apache-2.0
# H host   D NVLink domain that the plan uses
"""Slurm: node list, segment, host file, batch script, topology.

Up to `ARBITRARY` hosts the host file imposes every rank (`--distribution=arbitrary`, at step level). Above it slurmctld spends
a minute under its locks on such a layout, so the nodes are allocated in blocks and placement-exec finds the rank from the host
name. Measured: the layout takes about 60-70 s at 55,008 nodes, 8 s at 18,000, less than 1 s at 1,008.
"""

from __future__ import annotations

import math

import numpy as np

from placement.diag import Diagnostic, InputError, Severity
from placement.export.case import Case, Export
from placement.export.slurm_topology import topology_conf, topology_yaml
from placement.export.text import MAX_ARGUMENT, rows, slurm_lists

ARBITRARY = 10_000  # hosts
MAX_NODES = 65_536  # MAX_SLURM_NODES
MAX_TASKS = 512  # MAX_TASKS_PER_NODE
_SEGMENT_SLOW = 4  # nodes; a small segment makes the block scheduler slow on many nodes


def export(case: Case) -> Export:
    """`nodes.txt`, `plan.hostfile`, `submit.sh`, `job.sh`, `task.sh`, `topology.yaml` and `topology.conf`."""
    _refuse(case)
    shim = not case.local_is_slot or case.hosts > ARBITRARY
    files = {
        "README": _readme(case, shim),
        # Commas at the ends, or Slurm refuses about 1,024 lines and more that do not fold ("too long for the allocate RPC").
        "nodes.txt": rows(np.sort(case.name_H), b",\n"),
        "plan.hostfile": rows(case.name_R, b",\n"),
        "submit.sh": _submit(case),
        "job.sh": _job(case, shim),
        "topology.yaml": case.stamp() + topology_yaml(case.cluster).encode(),
        "topology.conf": case.stamp() + topology_conf(case.cluster).encode(),
    }
    if not shim:
        files["task.sh"] = _task(case)
    return Export(files, tuple(_warnings(case, shim)))


def segment(case: Case) -> int:
    """Greatest common divisor of the plan's nodes per block: the one value that topology/block accepts for any list."""
    return math.gcd(*np.bincount(case.domain_H).tolist())


def _refuse(case: Case) -> None:
    if case.hosts > MAX_NODES:
        raise InputError([Diagnostic("export/too-large", f"{case.hosts} nodes are more than Slurm's {MAX_NODES}",
                                     help="split the cluster, or start the ranks with `--to env`")])  # fmt: skip
    if int(case.ranks_H.max()) > MAX_TASKS:
        raise InputError([Diagnostic("export/too-large", f"a node has more than Slurm's {MAX_TASKS} tasks",
                                     help="start the ranks with `--to env`")])  # fmt: skip
    if case.hosts > ARBITRARY and not case.whole:
        raise InputError([Diagnostic(
            "export/ragged-hosts", f"hosts give unequal numbers of GPUs, which needs the arbitrary layout, and {case.hosts} "
            f"nodes are more than it can take ({ARBITRARY})", help="plan whole nodes: remove `ragged: allow` from the job",
        )])  # fmt: skip
    size = len(slurm_lists(case.name_H, np.zeros(case.hosts, np.int64))[0])
    if size > MAX_ARGUMENT:  # SLURM_JOB_NODELIST
        raise InputError([Diagnostic(
            "export/too-large", f"the node list has {size} bytes as Slurm writes it, and a variable of a task may have "
            f"{MAX_ARGUMENT}", help="use the same trays of every rack: `spares: {policy: per_rack}`, or `--to env`",
        )])  # fmt: skip


def _warnings(case: Case, shim: bool) -> list[Diagnostic]:
    found = []
    if case.hosts > ARBITRARY:
        found.append(Diagnostic(
            "export/needs-shim", f"above {ARBITRARY} nodes slurmctld is too slow to impose ranks: job.sh starts placement-exec",
            Severity.WARNING, notes=("MPI programs take their rank from Slurm, and so not the plan's",),
            help="install placement-exec on the nodes and set PLACEMENT_PLAN",
        ))  # fmt: skip
    elif shim:
        found.append(Diagnostic(
            "export/needs-shim", "ranks do not ascend with the GPU slot on every host, which no launcher can do: job.sh "
            "starts placement-exec", Severity.WARNING, help="install placement-exec on the nodes and set PLACEMENT_PLAN",
        ))  # fmt: skip
    if segment(case) < _SEGMENT_SLOW and case.hosts > 1024 and _blocks(case):
        found.append(Diagnostic(
            "export/small-segment", f"blocks of unequal size leave a segment of {segment(case)} nodes, slow to schedule",
            Severity.WARNING, help="use equally many nodes of every NVLink domain: `spares: {policy: per_rack}`",
        ))  # fmt: skip
    return found


def _blocks(case: Case) -> bool:
    """NVLink domains span hosts, so that they are blocks to Slurm."""
    return case.cluster.tiers[0].num_groups < case.cluster.num_nodes


def _readme(case: Case, shim: bool) -> bytes:
    shimmed = "PLACEMENT_PLAN=/shared/plan " if shim else ""
    note = "topology.yaml is for Slurm 25.05 and later (block), topology.conf for older ones (tree); "
    note += f"segments of {segment(case)} nodes; tasks on a host that is not in the plan stop with exit code 68."
    return case.readme(f"{shimmed}sh submit.sh PROGRAM [ARGUMENT...], from a directory that all nodes see.", note)


def _submit(case: Case) -> bytes:
    tasks = f" --ntasks-per-node={case.slots}" if case.whole else ""
    size = segment(case) if _blocks(case) else 0
    probe = f"case $(sbatch --help 2>&1) in *--segment*) segment=--segment={size} ;; esac\n" if size else ""
    return f"""#!/bin/sh
# placement plan {case.digest}
# Submits job.sh on the nodes of the plan. Usage: sh submit.sh PROGRAM [ARGUMENT...]; options of sbatch: SBATCH_OPTIONS.
PLACEMENT_EXPORT=$(cd "$(dirname "$0")" && pwd) && export PLACEMENT_EXPORT
segment=
{probe}exec sbatch --nodes={case.hosts} --nodefile="$PLACEMENT_EXPORT/nodes.txt" --exclusive --ntasks={case.world}{tasks} \\
  $segment ${{SBATCH_OPTIONS-}} "$PLACEMENT_EXPORT/job.sh" "$@"
""".encode()


def _job(case: Case, shim: bool) -> bytes:
    task = 'sh "$PLACEMENT_EXPORT/task.sh"'
    lines = [
        "#!/bin/sh",
        f"# placement plan {case.digest}",
        ': "${PLACEMENT_EXPORT:?the directory of this export; see submit.sh}"',
    ]
    if shim:
        lines += [': "${PLACEMENT_PLAN:?the plan directory, on a file system that all nodes see}"']
        task = f'placement-exec --digest {case.digest[:16]} "$PLACEMENT_PLAN"'
    lines += [f"export MASTER_ADDR=${{MASTER_ADDR:-{case.master}}} MASTER_PORT=${{MASTER_PORT:-29500}}"]
    if case.hosts <= ARBITRARY:
        lines += ["export SLURM_HOSTFILE=$PLACEMENT_EXPORT/plan.hostfile  # line r is the node of rank r"]
        step = f"srun --ntasks={case.world} --distribution=arbitrary"
    else:
        step = f"srun --ntasks={case.world} --ntasks-per-node={case.slots} --distribution=block"
    return "\n".join([*lines, f'exec {step} {task} "$@"', ""]).encode()


def _task(case: Case) -> bytes:
    return f"""#!/bin/sh
# placement plan {case.digest}
# One rank: says to the program what Slurm said to it, after a look at whether Slurm did what the plan says.
planned=$(sed "$((SLURM_PROCID + 1))q;d" "$PLACEMENT_EXPORT/plan.hostfile")
if [ "$planned" != "$SLURMD_NODENAME," ] || [ "$SLURM_NTASKS" != {case.world} ]; then
  echo "placement: task $SLURM_PROCID of $SLURM_NTASKS runs on $SLURMD_NODENAME; the plan says $planned {case.world} tasks" >&2
  exit 68
fi
export RANK="$SLURM_PROCID" WORLD_SIZE={case.world} LOCAL_RANK="$SLURM_LOCALID" LOCAL_WORLD_SIZE={case.slots}
export PLACEMENT_DIGEST={case.digest}
exec "$@"
""".encode()

# SPDX-License-Identifier: Apache-2.0
"""Node labels that speak of topology, whoever writes them: NVLink domain, tiers from the inside out, GPUs.

Sources: NVIDIA GPU operator (gpu.clique, gpu.product), topograph 1.0 (fabric.topograph.run, accelerator.topograph.run)
and before (network.topology.nvidia.com), OCI (rdma.*), GKE (gce-topology-*), EKS (topology.k8s.aws), CoreWeave (ds.,
backend.), Kubernetes (zone, region).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# NVLink domain, most trusted first.
DOMAINS = (
    "nvidia.com/gpu.clique", "accelerator.topograph.run/domain", "network.topology.nvidia.com/accelerator",
    "ds.coreweave.com/nvlink.domain", "topology.k8s.aws/ultraserver-id",
)  # fmt: skip
# Families of tiers, each innermost first: (label, name of the tier).
FAMILIES: tuple[tuple[tuple[str, str], ...], ...] = (
    tuple((f"fabric.topograph.run/tier-{n}", f"tier-{n}") for n in range(1, 9)),
    (
        ("network.topology.nvidia.com/block", "block"), ("network.topology.nvidia.com/spine", "spine"),
        ("network.topology.nvidia.com/datacenter", "datacenter"),
    ),
    (
        ("oci.oraclecloud.com/rdma.local_block_id", "local-block"),
        ("oci.oraclecloud.com/rdma.network_block_id", "network-block"),
        ("oci.oraclecloud.com/rdma.hpc_island_id", "hpc-island"),
    ),
    (
        ("cloud.google.com/gce-topology-subblock", "subblock"), ("cloud.google.com/gce-topology-block", "block"),
    ),
    tuple((f"topology.k8s.aws/network-node-layer-{n}", f"layer-{n}") for n in (4, 3, 2, 1)),
    (
        ("backend.coreweave.cloud/leafgroup", "leafgroup"), ("backend.coreweave.cloud/superpod", "superpod"),
        ("backend.coreweave.cloud/fabric", "fabric"),
    ),
    (
        ("topology.kubernetes.io/rack", "rack"), ("cloud.provider.com/topology-rack", "rack"),
        ("cloud.provider.com/topology-block", "block"),
    ),
)  # fmt: skip
OUTER = (("topology.kubernetes.io/zone", "zone"), ("topology.kubernetes.io/region", "region"))
_OCI_SHORT = re.compile(r"oci\.oraclecloud\.com/(?:host\.)?(rdma\.)?(?=(?:local_block|network_block|hpc_island))")
_KNOWN = frozenset((*DOMAINS, *(k for f in FAMILIES for k, _ in f), *(k for k, _ in OUTER)))
MARK = re.compile(
    r"nvidia\.com/gpu\.clique|topograph\.run/|network\.topology\.nvidia\.com/|oraclecloud\.com/rdma\.|gce-topology-|"
    r"topology\.k8s\.aws/|coreweave\.c|topology\.kubernetes\.io/"
)


def facts_of(labels: Mapping[str, str]) -> tuple[dict[str, object], list[tuple[str, str]], list[str]]:
    """(facts of the host, its groups innermost first, labels of another family that were not used)."""
    labels = {_OCI_SHORT.sub("oci.oraclecloud.com/rdma.", k): v for k, v in labels.items()}
    facts: dict[str, object] = {}
    found = [(k, labels[k]) for k in DOMAINS if labels.get(k)]
    if found:
        facts["domain"] = found[0][1]
    if labels.get("nvidia.com/gpu.product"):
        facts["gpu_name"] = labels["nvidia.com/gpu.product"].split("-SHARED")[0]
    if re.fullmatch(r"[0-9]{1,4}", labels.get("nvidia.com/gpu.count", "")):
        facts["gpus"] = int(labels["nvidia.com/gpu.count"])
    families = [[(name, labels[k]) for k, name in f if labels.get(k)] for f in FAMILIES]
    used = next((f for f in families if f), [])
    unused = [name for f in families if f and f is not used for name, _ in f]
    outer = [(name, labels[k]) for k, name in OUTER if labels.get(k)]
    return facts, used + outer, unused

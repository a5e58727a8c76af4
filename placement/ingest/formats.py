# SPDX-License-Identifier: Apache-2.0
"""Every format that a topology can be read from, one line each. Modules load when a file needs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from placement.diag import Diagnostic
from placement.ingest.source import Source
from placement.ir import Wired

Reading = tuple[Wired, tuple[Diagnostic, ...]]


@dataclass(frozen=True)
class Format:
    """A foreign format. Its module `placement.ingest.<module>` has

    `looks_like(name: str, head: str) -> bool`   whether a file's name and first 64 KiB are of this format: cheap, never raises
    `read(source: Source) -> Reading`            the value and every diagnostic; InputError only where nothing can be used

    A module that reads several formats has `looks_like_<suffix>` and `read_<suffix>`; `suffix` says which.
    """

    name: str
    title: str
    module: str
    suffix: str = ""

    def looks_like(self, name: str, head: str) -> bool:
        test: Callable[[str, str], bool] = self._function("looks_like")
        return test(name, head)

    def read(self, source: Source) -> Reading:
        function: Callable[[Source], Reading] = self._function("read")
        return function(source)

    def _function(self, name: str) -> Any:
        module = import_module(f"placement.ingest.{self.module}")
        return getattr(module, f"{name}_{self.suffix}" if self.suffix else name)


# In order of detection: the ones with the clearest marks first.
_ALL = (
    Format("ibnetdiscover", "ibnetdiscover output: links by GUID and port", "ibnetdiscover"),
    Format("ibnetdiscover-ports", "ibnetdiscover -p output: one line a port", "ibnetdiscover", "ports"),
    Format("cabling", "planned cabling as CSV: UFM NDT or point-to-point sheets", "cabling"),
    Format("slurm", "Slurm topology.conf: tree or block", "slurm"),
    Format("slurm-yaml", "Slurm topology.yaml: several topologies", "slurm", "yaml"),
    Format("nmx", "NMX compute nodes as JSON: NVLink domain, chassis, health", "topograph", "nmx"),
    Format("netq", "NetQ topology graph as JSON: LLDP links by interface", "topograph", "netq"),
    Format("topograph-graph", "topograph graph output as JSON", "topograph", "graph"),
    Format("nccl-topo", "NCCL topology XML (NCCL_TOPO_DUMP_FILE)", "nccl", "topo"),
    Format("nccl-graph", "NCCL graph XML (NCCL_GRAPH_DUMP_FILE)", "nccl", "graph"),
    Format("lstopo", "hwloc lstopo XML", "hwloc"),
    Format("graphml", "GraphML, as networkx writes it", "graphml"),
    Format("nvidia-smi-topo", "nvidia-smi topo -m", "nvidia_smi", "topo"),
    Format("nvidia-smi-q", "nvidia-smi -q: fabric state, cluster UUID, clique", "nvidia_smi", "q"),
    Format("aws", "AWS DescribeInstanceTopology answer", "cloud", "aws"),
    Format("gcp", "GCP instances with physicalHostTopology", "cloud", "gcp"),
    Format("oci", "OCI compute hosts: local block, network block, HPC island", "cloud", "oci"),
    Format("topograph", "topograph simulation model YAML", "topograph"),
    Format("kubernetes", "Kubernetes nodes or labels: GPU clique, network tiers", "kubernetes"),
    Format("netbox-devicetype", "NetBox device type YAML", "netbox", "devicetype"),
    Format("netbox-cables", "NetBox cable export as CSV", "netbox", "cables"),
    Format("astra-sim", "ASTRA-sim network YAML", "simulators", "astra"),
    Format("simai", "SimAI topology text", "simulators", "simai"),
)
FORMATS: dict[str, Format] = {f.name: f for f in _ALL}

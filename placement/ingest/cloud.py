# SPDX-License-Identifier: Apache-2.0
"""Answers of clouds about where instances stand: AWS DescribeInstanceTopology, GCP physicalHostTopology, OCI compute hosts.

Instance types: vendors' pages of accelerated instances (GPUs, and network bandwidth of the whole instance).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from placement.diag import Severity
from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.records import Record, json_records, mapping, sequence, text_of
from placement.ingest.source import Source
from placement.ingest.trees import unsaid

# Instance type -> (GPU of the catalogue, GPUs, network Gb/s of the instance).
TYPES: Mapping[str, tuple[str, int, int]] = {
    "p4d.24xlarge": ("A100-40GB", 8, 400), "p4de.24xlarge": ("A100-80GB", 8, 400), "p5.48xlarge": ("H100", 8, 3200),
    "p5e.48xlarge": ("H200", 8, 3200), "p5en.48xlarge": ("H200", 8, 3200), "p6-b200.48xlarge": ("B200", 8, 3200),
    "p6e-gb200.36xlarge": ("GB200", 4, 1600), "a3-highgpu-8g": ("H100", 8, 800), "a3-megagpu-8g": ("H100", 8, 1600),
    "a3-ultragpu-8g": ("H200", 8, 3200), "a4-highgpu-8g": ("B200", 8, 3200), "a4x-highgpu-4g": ("GB200", 4, 1600),
    "BM.GPU.H100.8": ("H100", 8, 3200), "BM.GPU.H200.8": ("H200", 8, 3200), "BM.GPU.B200.8": ("B200", 8, 3200),
    "BM.GPU.GB200.4": ("GB200", 4, 1600), "BM.GPU.GB300.4": ("GB300", 4, 3200), "BM.GPU4.8": ("A100-40GB", 8, 1600),
    "BM.GPU.A100-v2.8": ("A100-80GB", 8, 1600),
}  # fmt: skip
RACKS = ("GB200", "GB300")  # GPUs whose NVLink domain is a rack of hosts
UNSAID = "rails, ports and switches by name"


def hardware(out: Builder, type_: str, line: int, seen: set[str]) -> dict[str, object]:
    """What an instance type tells of the host."""
    kind = type_.rpartition("/")[2]
    if kind not in TYPES:
        if kind and kind not in seen:
            out.bad(line, "assumed", f"instance type `{kind[:60]}` is not known: its GPUs and adapters are not said")
        seen.add(kind)
        return {}
    name, gpus, gbps = TYPES[kind]
    return {"gpu_name": name, "gpus": gpus, "nics": gpus, "nic_Bps": gbps * 1e9 / 8 / gpus}


def _add(out: Builder, record: Record, name: str, groups: list[tuple[str, str]], facts: dict[str, object]) -> None:
    if not name:
        out.bad(record.line, "bad-record", "an instance without a name")
        return
    if name in out._host:  # noqa: SLF001  # the collector of this very file
        out.bad(record.line, "duplicate-name", f"`{name}` is listed twice; what is said last counts")
    if not any(g for _, g in groups):
        out.bad(record.line, "no-leaf", f"`{name}` has no place in the network")
    out.host(name, record.line, [(t, g) for t, g in groups if g], **facts)


# ----------------------------------------------------------------------------------------------------------------- AWS


def looks_like_aws(_name: str, head: str) -> bool:
    return '"NetworkNodes"' in head or '"networkNodeSet"' in head


def read_aws(source: Source) -> Reading:
    """Three network nodes (four on some types) for each instance, farthest first."""
    out = Builder("aws", source.file, logical=True)
    seen: set[str] = set()
    for record in json_records(out, source, "Instances", "instances"):
        value = record.value
        nodes = [text_of(n) for n in sequence(value.get("NetworkNodes"))]
        depth = len(nodes)
        groups = [(f"layer-{depth - k}", n) for k, n in enumerate(reversed(nodes))]
        zone = text_of(value.get("ZoneId")) or text_of(value.get("AvailabilityZone"))
        facts = hardware(out, text_of(value.get("InstanceType")), record.line, seen)
        facts |= {"hall": zone} if zone else {}
        capacity = text_of(value.get("CapacityBlockId"))
        if server := text_of(value.get("UltraServerId")):
            facts["domain"] = server
        _add(out, record, text_of(value.get("InstanceId")), groups, facts | ({"place": capacity} if capacity else {}))
    _depths(out)
    unsaid(out, UNSAID)
    return out.done()


def _depths(out: Builder) -> None:
    """Tiers of instances with three and with four network nodes are counted from the inside."""
    out.tiers.sort(key=lambda t: -int(t.rpartition("-")[2]) if t.startswith("layer-") else 0)


# ----------------------------------------------------------------------------------------------------------------- GCP


def looks_like_gcp(_name: str, head: str) -> bool:
    return '"physicalHostTopology"' in head or '"physicalHost"' in head


def read_gcp(source: Source) -> Reading:
    """`gcloud compute instances list --format=json`: cluster, block, sub-block, host."""
    out = Builder("gcp", source.file, logical=True)
    seen: set[str] = set()
    for record in json_records(out, source, "items"):
        value = record.value
        status = mapping(value.get("resourceStatus"))
        place = mapping(status.get("physicalHostTopology") or value.get("physicalHostTopology"))
        parts = text_of(status.get("physicalHost") or value.get("physicalHost")).strip("/").split("/")
        if not place and len(parts) == 3:
            place = dict(zip(("block", "subblock", "host"), parts, strict=True))
        groups = [(t, text_of(place.get(t))) for t in ("subblock", "block", "cluster")]
        facts = hardware(out, text_of(value.get("machineType")), record.line, seen)
        facts |= {"place": text_of(place.get("host")), "state": _running(text_of(value.get("status")))}
        if facts.get("gpu_name") in RACKS and (rack := text_of(place.get("subblock"))):
            facts["domain"] = rack  # "a sub-block of A4X is one NVLink domain of 18 instances": Google's page of A4X
        zone = text_of(value.get("zone")).rpartition("/")[2]
        _add(out, record, text_of(value.get("name")), groups, facts | ({"hall": zone} if zone else {}))
    unsaid(out, UNSAID)
    return out.done()


def _running(status: str) -> str:
    return "" if status in ("", "RUNNING", "ACTIVE", "OCCUPIED", "AVAILABLE") else status


# ----------------------------------------------------------------------------------------------------------------- OCI


def looks_like_oci(_name: str, head: str) -> bool:
    return bool(re.search(r'"(?:hpc[-_]?island[-_]?id)"', head, re.IGNORECASE))


def read_oci(source: Source) -> Reading:
    """`oci compute compute-host list`: local block, network block, HPC island, GPU memory fabric, health."""
    out = Builder("oci", source.file, logical=True)
    seen: set[str] = set()
    for record in json_records(out, source, "items", "data"):
        value = {re.sub(r"[-_]", "", k).lower(): v for k, v in record.value.items()}
        name = text_of(value.get("displayname") or value.get("instanceid") or value.get("id"))
        groups = [(t, _short(value.get(k))) for t, k in _OCI]
        facts = hardware(out, text_of(value.get("shape")), record.line, seen)
        if fabric := _short(value.get("gpumemoryfabricid")):
            facts["domain"] = fabric
        health, life = text_of(value.get("health")).upper(), _running(text_of(value.get("lifecyclestate")).upper())
        facts["state"] = life if health in ("", "HEALTHY") else health
        _add(out, record, name, groups, facts)
    out.bad(1, "unsaid", f"the format says nothing of {UNSAID}", severity=Severity.INFO)
    return out.done()


_OCI = (("local-block", "localblockid"), ("network-block", "networkblockid"), ("hpc-island", "hpcislandid"))


def _short(value: Any) -> str:
    """The unique part of an OCID."""
    return text_of(value).rpartition(".")[2]

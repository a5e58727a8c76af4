# SPDX-License-Identifier: Apache-2.0
"""What a topology file may say: a pattern of racks and switch tiers, plus exceptions. Descriptions go into the JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from placement.diag import Diagnostic, InputError
from placement.ir import Cluster
from placement.spec.catalog import GpuSpec
from placement.spec.fields import Bandwidth, Count, Flag, Fraction, Schema, Text, Time, Whole, _units_pattern, problem
from placement.spec.fields import _count as as_count
from placement.spec.source import Document, load, validate

_BANDWIDTH = _units_pattern("bandwidth")
MAX_NODES = 2_000_000  # ten times the real size; more is a typing error


def _sizes(value: Any) -> Any:
    """Group sizes: one number of racks, or a list with the size of each group."""
    if isinstance(value, list):
        if not value:
            raise problem(
                "not-positive", "a list of group sizes cannot be empty", "leave `racks` out for one group of everything"
            )
        return tuple(as_count(v) for v in value)
    return (as_count(value),)


Sizes = Annotated[
    tuple[int, ...],
    BeforeValidator(_sizes),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "array", "items": {"type": "integer", "minimum": 1}}]}
    ),
]


def _uplinks(value: Any) -> Any:
    """One capacity, or a list with that of each group."""
    if isinstance(value, list) and not value:
        raise problem("not-positive", "a list of uplinks cannot be empty", "leave `uplink` out")
    return value if isinstance(value, list) else [value]


Uplinks = Annotated[
    tuple[Bandwidth, ...],
    BeforeValidator(_uplinks),
    WithJsonSchema({"anyOf": [_BANDWIDTH, {"type": "array", "items": _BANDWIDTH}]}),
]


def _gpu_kind(value: Any) -> str:
    return "inline" if isinstance(value, dict | GpuSpec) else "name"


Gpu = Annotated[
    Annotated[Text, Tag("name")] | Annotated[GpuSpec, Tag("inline")],
    Discriminator(_gpu_kind),
    Field(description="A GPU of the catalogue by name, or a mapping that describes one"),
]


class Node(Schema):
    """One host."""

    model_config = ConfigDict(title="a node")
    gpus: Count = Field(description="GPUs of one node")
    nics: Count | None = Field(None, description="Network adapters of one node; default: one for each GPU. Adapter i is rail i")
    nic: Text | None = Field(None, description="Adapter of the catalogue, which gives its speed")
    nic_speed: Bandwidth | None = Field(None, description="Speed of one adapter in one direction, all planes together")
    nic_name: Text = Field("mlx5_{rail}", description="Name of an adapter on its host; `{rail}` is its number")


class NvLink(Schema):
    """The NVLink domain."""

    model_config = ConfigDict(title="the NVLink domain")
    nodes: Count | None = Field(None, description="Nodes of one domain; default: the whole rack")
    latency: Time = Field(description="One small message between GPUs of a domain")


class Racks(Schema):
    """A run of equal racks."""

    model_config = ConfigDict(title="a run of racks")
    count: Count = Field(description="Number of racks")
    nodes: Count = Field(description="Nodes of one rack")
    name: Text = Field("rack{rack:04}", description="Name of a rack; `{rack}` is its number over the whole cluster")
    host: Text = Field("rack{rack:04}-node{node:02}", description="Host name; `{rack}` and `{node}` (in the rack)")
    names: Text | None = Field(None, description="Names of these racks as a host list, in order; instead of `name`")
    hosts: Text | None = Field(
        None,
        description="Host names of these racks as a host list, rack by rack; instead of `host`, for names without a pattern",
    )
    first_rack: Whole | None = Field(None, description="Number of the first rack; default: go on from the racks before, or 1")
    first_node: Whole = Field(1, description="Number of the first node of a rack")
    gpu: Gpu | None = Field(None, description="GPU of these racks, where they differ from the others")
    nic: Text | None = Field(None, description="Adapter of these racks, where they differ from the others")
    nic_speed: Bandwidth | None = Field(None, description="Adapter speed of these racks, where they differ from the others")


class Switch(Schema):
    """The switches of a tier."""

    model_config = ConfigDict(title="the switches of a tier")
    model: Text | None = Field(None, description="Switch of the catalogue, which gives ports and speed")
    kind: Text | None = Field(None, description="What these switches are called: leaf, spine, core; default: the tier's name")
    ports: Count | None = Field(None, description="Ports of one switch, after splitting")
    speed: Bandwidth | None = Field(None, description="Speed of one port in one direction")
    count: Count | None = Field(
        None, description="Switches of a full group, in one plane (and rail); default: as few as the cables need"
    )
    per_rail: Flag = Field(False, description="Each switch serves one rail only (rail-optimised)")
    uplinks: Whole = Field(0, description="Ports of one switch towards the next tier")
    partial: Literal["full", "scaled"] = Field(
        "full", description="Switches of a partial group: as a full one, or as its cables need"
    )
    name: Text | None = Field(None, description="Switch names; `{group}`, `{rail}`, `{plane}`, `{index}`, all from 0")


class TierSchema(Schema):
    """One tier of the network, innermost first."""

    model_config = ConfigDict(title="a tier")
    name: Text = Field(description="Name of the tier: leaf, pod, core, hall")
    racks: Sizes | None = Field(
        None, description="Racks of one group, or a list with the racks of each; default: one group of all"
    )
    latency: Time = Field(description="One small message between nodes that meet at this tier")
    switch: Switch | None = Field(None, description="Switches of the tier; none for long-haul links")
    uplink: Uplinks | None = Field(
        None, description="Capacity of one group, or of each, towards the next tier, where it is not ports times speed"
    )
    taper: Text | None = Field(None, description="Intended taper, `8:1`, checked against the ports")


class Fabric(Schema):
    """The network."""

    model_config = ConfigDict(title="the fabric")
    planes: Count = Field(1, description="Parallel fabrics that each adapter is split over")
    rails_connected: Flag = Field(True, description="The fabric has a path between rails")
    tiers: list[TierSchema] = Field(default_factory=list, description="Tiers, innermost (leaf) first")


class ExceptionSchema(Schema):
    """Something that is not as the pattern says."""

    model_config = ConfigDict(title="an exception")
    state: Literal["failed", "drained", "degraded", "absent", "reserved"] = Field(description="What is the matter")
    racks: Text | None = Field(None, description="Racks, as a host list: `rack[0001-0008]`")
    nodes: Text | None = Field(None, description="Nodes, as a host list: `rack0001-tray[01-02]`")
    gpus: Text | None = Field(None, description="GPUs, as `host:slot`: `rack0001-tray01:[0-1]`")
    nics: Text | None = Field(None, description="Adapters, as `host:rail`: `rack0001-tray01:3`")
    nvlink: Text | None = Field(None, description="NVLink domains, by name, as a host list; they can only be degraded")
    switches: Text | None = Field(None, description="Switches, by name, as a host list")
    links: Text | None = Field(None, description="Cables between two switches, lower one first: `leaf-0001-r0 -- spine-00-07`")
    count: Count | None = Field(None, description="Cables of each pair in `links` that are meant; default: all of them")
    fraction: Fraction | None = Field(None, description="What a degraded object still reaches of its speed")
    reason: Text | None = Field(None, description="Why, for people")


class Topology(Schema):
    """A cluster."""

    model_config = ConfigDict(title="a topology")
    name: Text = Field(description="Name of the cluster")
    gpu: Gpu
    node: Node
    nvlink: NvLink
    racks: Annotated[list[Racks], Field(min_length=1, description="Runs of equal racks, in fabric order")]
    fabric: Fabric = Field(default_factory=Fabric)
    exceptions: list[ExceptionSchema] = Field(
        default_factory=list, description="What is failed, drained, degraded, absent or reserved"
    )


def load_cluster(path: str) -> Cluster:
    """The cluster of a topology file, or of an example by its name. Raises InputError with every finding.

    Warnings do not raise: they are in `Cluster.findings`.
    """
    return lower_document(load(path, room="topology"))


def check_topology(path: str) -> tuple[Cluster | None, tuple[Diagnostic, ...]]:
    """The cluster (None if it has errors) and every finding, warnings and notes included."""
    try:
        cluster = load_cluster(path)
    except InputError as error:
        return None, error.diagnostics
    return cluster, cluster.findings


def lower_document(doc: Document) -> Cluster:
    """The cluster that a parsed topology describes."""
    from placement.spec.lower import lower

    return lower(validate(doc, Topology), doc)


__all__ = ["Topology", "check_topology", "load_cluster", "lower_document"]

# SPDX-License-Identifier: Apache-2.0
"""The catalogue: GPUs, adapters, switches and fitted efficiencies, read from `placement/catalog/*.yaml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ConfigDict, Field

from placement.diag import Diagnostic, InputError
from placement.ir import Chip, Efficiency, Prior, Scope
from placement.spec.fields import Bandwidth, Bytes, Count, Flag, Flops, Power, Real, Schema, Text
from placement.spec.source import Document, load, validate
from placement.spec.validate import did_you_mean

CATALOG = Path(__file__).resolve().parent.parent / "catalog"


class Peaks(Schema):
    """Dense FLOP/s by matmul precision."""

    model_config = ConfigDict(title="the peaks of a GPU")
    bf16: Flops
    fp8: Flops | None = None
    nvfp4: Flops | None = None


class GpuSpec(Schema):
    """One GPU type."""

    model_config = ConfigDict(title="a GPU")
    name: Text | None = Field(None, description="Name, for a GPU that is described in place")
    aliases: tuple[Text, ...] = Field((), description="Other names of the same part")
    generation: Literal["ampere", "hopper", "blackwell", "blackwell_ultra"] = Field(description="Silicon generation")
    form: Text = Field("sxm", description="Board and power limit: sxm, nvl72")
    peak: Peaks = Field(description="Dense FLOP/s by precision")
    memory: Bytes = Field(description="HBM of one GPU")
    memory_bandwidth: Bandwidth = Field(description="HBM bytes per second")
    nvlink: Bandwidth = Field(description="NVLink bytes per second of one GPU, one direction")
    nvls: Flag = Field(False, description="The NVLink switch can reduce (NVLink SHARP)")
    power: Power | None = Field(None, description="Power limit of the board; large matmuls run as fast as it lets them")
    source: Text | None = Field(None, description="Where the numbers come from")
    unchecked: Text | None = Field(None, description="Which numbers were not read in a primary source")


class NicSpec(Schema):
    """One network adapter."""

    model_config = ConfigDict(title="a network adapter")
    aliases: tuple[Text, ...] = ()
    speed: Bandwidth
    source: Text


class SwitchSpec(Schema):
    """One switch model."""

    model_config = ConfigDict(title="a switch model")
    aliases: tuple[Text, ...] = ()
    ports: Count
    speed: Bandwidth
    source: Text


class ScopeSpec(Schema):
    """What constants were fitted to."""

    model_config = ConfigDict(title="the scope of constants")
    gpus: tuple[Text, ...]
    precisions: tuple[Text, ...]
    max_gpus: Count
    spread: dict[str, Real] = Field(description="Half-widths of 80 % intervals, natural logarithm: dense, moe; far: a factor")


class EfficiencySpec(Schema):
    """Constants of the cost model."""

    model_config = ConfigDict(title="an efficiency file")
    provenance: Text
    values: dict[str, Real]
    scope: ScopeSpec | None = Field(None, description="What the constants were fitted to, and how far they were off elsewhere")
    residuals: dict[str, Real] = Field(default={}, description="Errors that the fit left, as fractions; for readers only")


class PriorSpec(Schema):
    """A constant of the cost model before any run is seen."""

    model_config = ConfigDict(title="a prior")
    value: Real
    width: Real
    family: Text | None = None
    shared: Real = 0.0
    meaning: Text
    source: Text


Item = TypeVar("Item", bound=GpuSpec | NicSpec | SwitchSpec)


def _entries(file: str, schema: type[Item]) -> dict[str, Item]:
    """Items of a catalogue file by name, aliases included."""
    doc = load(CATALOG / file, room="catalog")
    names = [str(name) for name in doc.tree]
    items: list[Item] = [validate(doc, schema, (name,)) for name in names]
    return {alias: item for name, item in zip(names, items, strict=True) for alias in (name, *item.aliases)}


@cache
def chips() -> dict[str, Chip]:
    """Every GPU type by its name; aliases point at the same chip."""
    first: dict[int, str] = {}
    entries = _entries("gpus.yaml", GpuSpec)
    for name, spec in entries.items():
        first.setdefault(id(spec), name)
    made = {id(spec): to_chip(first[id(spec)], spec) for spec in entries.values()}
    return {name: made[id(spec)] for name, spec in entries.items()}


@cache
def nics() -> dict[str, NicSpec]:
    """Every network adapter by name."""
    return _entries("nics.yaml", NicSpec)


@cache
def switches() -> dict[str, SwitchSpec]:
    """Every switch model by name."""
    return _entries("switches.yaml", SwitchSpec)


def to_chip(name: str, spec: GpuSpec) -> Chip:
    """The chip that a catalogue entry or an inline GPU describes."""
    peaks = {p: f for p in ("bf16", "fp8", "nvfp4") if (f := getattr(spec.peak, p)) is not None}
    return Chip(
        name=name, generation=spec.generation, form=spec.form, peak_flops=peaks, hbm_bytes=spec.memory,
        hbm_Bps=spec.memory_bandwidth, nvlink_Bps=spec.nvlink, nvls=spec.nvls, power_w=spec.power or 0.0,
    )  # fmt: skip


def chip(name: str) -> Chip:
    """One GPU type. Raises InputError with a suggestion for an unknown name."""
    known = chips()
    if name not in known:
        raise InputError(
            [Diagnostic("catalog/unknown-gpu", f"`{name}` is no GPU of the catalogue", help=did_you_mean(name, known))]
        )
    return known[name]


def efficiency(path: str | Path | None = None) -> Efficiency:
    """Constants of the cost model: the fitted ones that come with the tool, or the user's calibration file."""
    doc = load(path or CATALOG / "efficiency.yaml", room="catalog")
    return to_efficiency(doc)


def priors() -> dict[str, Prior]:
    """Every constant of the cost model before any run is seen."""
    doc = load(CATALOG / "priors.yaml", room="catalog")
    specs = {str(name): validate(doc, PriorSpec, (name,)) for name in doc.tree}
    return {
        name: Prior(spec.value, spec.width, spec.meaning, spec.source, spec.family or "", spec.shared)
        for name, spec in specs.items()
    }


def to_efficiency(doc: Document) -> Efficiency:
    spec = validate(doc, EfficiencySpec)
    told = spec.scope
    scope = Scope(told.gpus, told.precisions, told.max_gpus, dict(told.spread)) if told else None
    return Efficiency(values=dict(spec.values), provenance=spec.provenance, scope=scope)

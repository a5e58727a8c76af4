# SPDX-License-Identifier: Apache-2.0
"""Job files: batch, precision, optimizer, software, spares, pins. Defaults come from the model file, the command line wins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from placement.diag import Collector, Diagnostic, InputError, Label
from placement.ir import DEGREES, Job, Optimizer, Software, Spares
from placement.ir.failures import GPU_DAY
from placement.spec.fields import Count, Flag, Fraction, Positive, Schema, Text, Whole
from placement.spec.pins import CHOICES, contradictions, read_pins
from placement.spec.source import Document, KeyPath, load, validate

FORMAT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "none": 0.0}  # bytes of one number
MOMENTS = {"adam": 2, "muon": 1, "sgd": 1}  # running averages kept for each parameter
Format = Literal["fp32", "bf16", "fp16", "fp8"]


class OptimizerSchema(Schema):
    """Formats of what the optimizer keeps and moves."""

    model_config = ConfigDict(title="an optimizer")
    name: Literal["adam", "muon", "sgd"] = Field(
        "adam", description="Adam keeps two running averages, Muon and SGD with momentum one"
    )
    master: Literal["fp32", "bf16", "none"] = Field("fp32", description="Master copy of the weights")
    moments: Format = Field("fp32", description="Running averages")
    gradients: Format = Field("fp32", description="Gradient that is accumulated over microbatches")
    reduce: Format = Field("bf16", description="What the data-parallel reduction moves")
    gather: Format = Field("bf16", description="What the parameter all-gather moves")


class SoftwareSchema(Schema):
    """The training stack."""

    model_config = ConfigDict(title="the software")
    stack: Literal["megatron", "mlperf", "torchtitan", "composer", "automodel", "deepspeed"] = Field(
        "megatron", description="Which stack runs the job"
    )
    year: Annotated[Positive, Field(ge=2017, le=2100)] = Field(2026.6, description="Release, as a decimal year")
    ep_overlap: Flag = Field(False, description="Expert all-to-all runs behind the compute of another microbatch")
    eager: Flag = Field(False, description="Element-wise operations run one by one (PyTorch without torch.compile)")
    graphs: Flag = Field(False, description="CUDA graphs launch whole layers, also where the stack does not by itself")


class SparesSchema(Schema):
    """Healthy GPUs to keep out of the job."""

    model_config = ConfigDict(title="a spare policy")
    policy: Literal["per_rack", "racks", "per_group", "gpus"] = Field(
        description="What `count` counts: nodes of every rack, racks, racks of every pod, or GPUs"
    )
    count: Whole = Field(description="How many")


_PROBABILITY = WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 1}, {"type": "string"}]})


class SurviveSchema(Schema):
    """As many spare racks as failures come in some time."""

    model_config = ConfigDict(title="a spare policy")
    policy: Literal["survive"] = Field(description="Sized by computation: a rack for every failure to be ready for")
    hours: Positive = Field(24.0, description="How long the spares have to last")
    probability: Annotated[Fraction, Field(lt=1), _PROBABILITY] = Field(0.99, description="With which probability")
    rate: Positive = Field(GPU_DAY, description="Failures of a GPU in a day; default: those of Llama 3")


def _spares_kind(value: Any) -> str:
    if isinstance(value, dict):
        return "survive" if value.get("policy") == "survive" else "mapping"
    if isinstance(value, SurviveSchema):
        return "survive"
    return "mapping" if isinstance(value, SparesSchema) else "word"


def _gpus_kind(value: Any) -> str:
    return "all" if value == "all" else "number"


Pins = Annotated[
    dict[str, Text],
    WithJsonSchema({
        "type": "object",
        "properties": {a: {"type": "integer", "minimum": 1} for a in DEGREES}
        | {c: {"enum": list(v)} for c, v in CHOICES.items()},
        "additionalProperties": False,
    }),
]  # fmt: skip


class JobSchema(Schema):
    """A training job. Every key may also stand under `job:` in a model file, as a default."""

    model_config = ConfigDict(title="a job")
    sequence_length: Count | None = Field(None, description="Tokens of one sequence")
    global_batch: Count | None = Field(None, description="Sequences of one step; never changed silently")
    precision: Literal["bf16", "fp8", "mxfp8", "nvfp4"] | None = Field(None, description="Format of the matrix multiplications")
    optimizer: OptimizerSchema | None = Field(None, description="Optimizer and the formats of its state")
    software: SoftwareSchema | None = Field(None, description="Training stack")
    gpus: (
        Annotated[Annotated[Literal["all"], Tag("all")] | Annotated[Count, Tag("number")], Discriminator(_gpus_kind)] | None
    ) = Field(None, description="Use at most so many GPUs, or `all`")
    spares: (
        Annotated[
            Annotated[Literal["any", "none"], Tag("word")]
            | Annotated[SparesSchema, Tag("mapping")]
            | Annotated[SurviveSchema, Tag("survive")],
            Discriminator(_spares_kind),
        ]
        | None
    ) = Field(None, description="`any` (the search decides), `none`, or a policy with a count")
    pins: Pins | None = Field(None, description="Degrees and choices that are fixed: `{tp: 8, schedule: 1f1b}`")
    schedules: list[Literal["1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe", "dualpipev"]] | None = Field(
        None, min_length=1, description="Pipeline schedules that may be used"
    )
    recompute: list[Literal["none", "selective", "full"]] | None = Field(
        None, min_length=1, description="Recompute modes that may be used"
    )
    sharding: list[Literal["none", "zero1", "zero2", "fsdp"]] | None = Field(
        None, min_length=1, description="State sharding modes that may be used"
    )
    memory_margin: Fraction | None = Field(None, description="Share of GPU memory that is kept free")
    ragged: Literal["allow", "forbid"] | None = Field(None, description="May a job use part of a node")
    expert_imbalance: Annotated[Positive, Field(ge=1, le=1000), WithJsonSchema({"type": "number", "minimum": 1})] | None = (
        Field(None, description="Most loaded expert group over the mean")
    )
    objective: Literal["step_time"] | None = Field(None, description="What is minimised")
    effort: Annotated[Whole, Field(le=3), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 3})] | None = Field(
        None, description="Search effort, 0 to 3"
    )
    seed: Annotated[Whole, Field(le=2**63 - 1)] | None = Field(None, description="Seed of every random choice")
    calibration: Text | None = Field(None, description="File of efficiencies, beside the job file")


def load_job(
    path: str | Path | None, model_defaults: Mapping[str, Any] | None, pins: Mapping[str, Any], **overrides: Any
) -> Job:
    """The job of a file over the defaults of the model, under the pins and overrides of the command line.

    `model_defaults`: the `job:` block of a model file, as typed; None if the model could not be read, and then keys that it
    might have given are not reported as missing. `pins`: axis -> value. `overrides`: fields of `ir.Job`.
    Raises InputError with every finding.
    """
    found = Collector()
    fields: dict[str, Any] = {}
    default_pins, file_pins = {}, {}
    if model_defaults:
        block = Document("the `job:` block of the model", "", dict(model_defaults), {}, {}, "job")
        spec = _gather(found, lambda: validate(block, JobSchema), placed=False)
        fields, default_pins = _lowered(spec) if spec else {}, _pins_of(spec)
    doc = _gather(found, lambda: load(path, room="job")) if path is not None else None
    if doc is not None:
        spec = _gather(found, lambda: validate(doc, JobSchema))
        fields |= _lowered(spec, Path(doc.file).parent, fields) if spec else {}
        file_pins = _pins_of(spec)
    fields |= overrides
    fields["pins"] = read_pins(found, doc, default_pins, file_pins, pins)
    if model_defaults is not None:
        _complete(found, doc, fields)
    found.raise_if_errors()
    if "seq_len" not in fields or "global_batch" not in fields:
        raise InputError([])
    job = Job(**fields)
    for diagnostic in contradictions(job, doc):
        found.add(diagnostic)
    found.raise_if_errors()
    return job


def check_defaults(doc: Document, path: KeyPath = ("job",)) -> tuple[Diagnostic, ...]:
    """Findings in the `job:` block of a model file, at their places there."""
    try:
        validate(doc, JobSchema, path)
    except InputError as error:
        return error.diagnostics
    return ()


def _gather(found: Collector, read: Callable[[], Any], *, placed: bool = True) -> Any:
    try:
        return read()
    except InputError as error:
        for d in error.diagnostics:
            found.add(
                d
                if placed
                else Diagnostic(d.name, f"{d.message}, in the `job:` block of the model", help=d.help, notes=d.notes)
            )
    return None


def _pins_of(spec: JobSchema | None) -> dict[str, str]:
    return dict(spec.pins or {}) if spec else {}


def _complete(found: Collector, doc: Document | None, fields: Mapping[str, Any]) -> None:
    if found.errors:
        return
    for key, name, example in (("seq_len", "sequence_length", "8192"), ("global_batch", "global_batch", "1024")):
        if fields.get(key) is None:
            where = Label(doc.span(()), "") if doc else None
            message = f"the job has no {name}, and the model gives no default"
            found.add(Diagnostic("job/missing-key", message, primary=where, help=f"add `{name}: {example}` to the job file"))


def _lowered(spec: JobSchema, folder: Path | None = None, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Fields of `ir.Job` that a job file sets. Keys of nested mappings that it leaves out keep their value `before`."""
    before = before or {}
    plain: dict[str, Any] = {"seq_len": spec.sequence_length, "global_batch": spec.global_batch, "precision": spec.precision}
    plain |= {
        "memory_margin": spec.memory_margin,
        "expert_imbalance": spec.expert_imbalance,
        "effort": spec.effort,
        "seed": spec.seed,
    }
    out: dict[str, Any] = {k: v for k, v in plain.items() if v is not None}
    out |= {k: tuple(v) for k in ("schedules", "recompute", "sharding") if (v := getattr(spec, k)) is not None}
    if spec.gpus is not None:
        out["max_gpus"] = None if spec.gpus == "all" else spec.gpus
    if spec.ragged is not None:
        out["ragged"] = spec.ragged == "allow"
    if spec.calibration is not None:
        out["calibration"] = str((folder or Path()) / spec.calibration)
    if spec.optimizer is not None:
        out["optimizer"] = _optimizer(spec.optimizer)
    if spec.software is not None:
        known = before.get("software", Software())
        given = {k: getattr(spec.software, k) for k in spec.software.model_fields_set}
        out["software"] = replace(known, **given)
    if spec.spares is not None:
        out["spares"] = _spares(spec.spares)
    return out


def _spares(spec: str | SparesSchema | SurviveSchema) -> Spares:
    if isinstance(spec, SurviveSchema):
        return Spares(spec.policy, 0, spec.hours, spec.probability, spec.rate)
    return Spares(spec) if isinstance(spec, str) else Spares(spec.policy, spec.count)


def _optimizer(spec: OptimizerSchema) -> Optimizer:
    """Bytes per parameter of each part."""
    return Optimizer(
        name=spec.name,
        master_bytes=FORMAT_BYTES[spec.master],
        moment_bytes=MOMENTS[spec.name] * FORMAT_BYTES[spec.moments],
        grad_bytes=FORMAT_BYTES[spec.gradients],
        grad_reduce_bytes=FORMAT_BYTES[spec.reduce],
        param_gather_bytes=FORMAT_BYTES[spec.gather],
    )

# SPDX-License-Identifier: Apache-2.0
"""Communication files: towers with strategies of their own, bridges between them, groups and pairs. What users write."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from placement.spec.fields import Bytes, Count, Flag, Positive, Schema, Text, Whole
from placement.spec.job import Pins


class AxesSchema(Schema):
    """Degrees of a tower whose bytes are given by hand."""

    model_config = ConfigDict(title="the axes of a tower")
    tp: Count = Field(1, description="Tensor parallel")
    cp: Count = Field(1, description="Context parallel")
    dp: Count = Field(1, description="Data parallel")
    pp: Count = Field(1, description="Pipeline stages")
    ep: Count = Field(1, description="Expert parallel, over the ranks of a stage")
    etp: Count = Field(1, description="Tensor parallel of experts")


class AxisBytesSchema(Schema):
    """What one rank sends in a step along each axis, one direction; `pp`: to the next stage, and as much comes back."""

    model_config = ConfigDict(title="the bytes of a tower")
    tp: Bytes | None = Field(None, description="Rings of tp")
    cp: Bytes | None = Field(None, description="Rings of cp")
    dp: Bytes | None = Field(None, description="Rings of dp")
    pp: Bytes | None = Field(None, description="To the next stage")
    ep: Bytes | None = Field(None, description="All-to-all of experts")
    etp: Bytes | None = Field(None, description="Rings of etp")
    edp: Bytes | None = Field(None, description="Rings of expert data parallelism")


class TowerSchema(Schema):
    """One tower: a model with a job, or axes with bytes, or bare ranks whose traffic is in `groups` and `pairs`."""

    model_config = ConfigDict(title="a tower")
    model: Text | None = Field(None, description="Model file, beside this file, or the name of an example")
    job: Text | None = Field(None, description="Job file, beside this file")
    gpus: Count | None = Field(None, description="With `model`: at most so many GPUs")
    pins: Pins | None = Field(None, description="With `model`: degrees and choices that are fixed")
    axes: AxesSchema | None = Field(None, description="Instead of a model: degrees")
    bytes: AxisBytesSchema | None = Field(None, description="With `axes`: what one rank sends in a step along each axis")
    ranks: Count | None = Field(None, description="Instead of both: how many ranks, of no structure of their own")


class BridgeSchema(Schema):
    """What one tower hands to another: the last stage of `source` sends to the first stage of `target`, sample by sample."""

    model_config = ConfigDict(title="a bridge")
    source: Text = Field(description="Tower that sends activations")
    target: Text = Field(description="Tower that receives them")
    bytes: Bytes | None = Field(None, description="Of all ranks together in a step, one direction")
    hidden: Count | None = Field(None, description="Instead of `bytes`: values a token, of two bytes each")
    tokens: Positive | None = Field(None, description="With `hidden`: tokens that cross in a step")
    backward: Flag = Field(True, description="As many bytes of gradients come back")
    senders: Literal["leaders", "all"] = Field(
        "leaders", description="One rank of each replica sends and receives, or each rank its share"
    )


class GroupSchema(Schema):
    """Ranks that communicate, or that have to share an NVLink domain."""

    model_config = ConfigDict(title="a group")
    tower: Text | None = Field(None, description="Count ranks from the first one of this tower, and not of the whole job")
    ranks: Text = Field(description="Ranks and ranges: `0-7,16-23`")
    size: Count | None = Field(None, description="Many groups of this size instead of one of all")
    stride: Count = Field(1, description="With `size`: distance, in the list, between neighbours of a group")
    kind: Literal["ring", "all-to-all"] = Field("ring", description="To the next member, or to all others alike")
    bytes: Bytes | None = Field(None, description="What each member sends in a step")
    together: Flag = Field(False, description="Each group has to share one NVLink domain")


class PairSchema(Schema):
    """Bytes from one rank to another."""

    model_config = ConfigDict(title="a pair")
    source: Whole = Field(description="Rank that sends, counted over the whole job")
    target: Whole = Field(description="Rank that receives")
    bytes: Bytes = Field(description="In a step")


class CommsSchema(Schema):
    """Everything that communicates in a step of one job of several towers."""

    model_config = ConfigDict(title="a communication file")
    name: Text = Field(description="Name of the job")
    hypothetical: Flag = Field(False, description="Made up for an example: nobody has published it")
    towers: Annotated[
        dict[Text, TowerSchema],
        Field(min_length=1, description="Towers by name; ranks are numbered tower after tower, each in its canonical order"),
    ]
    bridges: list[BridgeSchema] = Field(default_factory=list, description="Traffic between towers")
    groups: list[GroupSchema] = Field(default_factory=list, description="Communicators that are no axis of a tower")
    pairs: list[PairSchema] = Field(default_factory=list, description="Traffic between single ranks")
    pairs_file: Text | None = Field(
        None, description="CSV file beside this one: source, target and bytes of a pair in each line, as plain numbers"
    )

# SPDX-License-Identifier: Apache-2.0
"""Fleet files: jobs with models, priorities and sizes or deadlines, on one cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from placement.diag import Collector, Diagnostic, InputError, Label
from placement.ir.fleet import Fleet, FleetJob
from placement.spec.fields import Count, Fraction, Positive, Schema, Text, Whole
from placement.spec.source import Document, load, validate


class DeadlineSchema(Schema):
    """A training run that has to be done by a date."""

    model_config = ConfigDict(title="a deadline")
    tokens: Positive = Field(description="Tokens to train on")
    days: Positive = Field(description="Days in which to do it")
    mfu: Fraction = Field(0.35, description="Model FLOPs utilisation to count with")


class FleetJobSchema(Schema):
    """One job of the fleet."""

    model_config = ConfigDict(title="a job of the fleet")
    name: Text = Field(description="Name of the job, also of its plan directory")
    model: Text = Field(description="Model file, beside the fleet file, or the name of an example")
    job: Text | None = Field(None, description="Job file, beside the fleet file")
    racks: Count | None = Field(None, description="NVLink domains that the job gets")
    deadline: DeadlineSchema | None = Field(None, description="Instead of `racks`: what has to be done by when")
    min_racks: Count | None = Field(None, description="It may shrink to so many where the cluster is too small for all")
    priority: Whole = Field(0, description="Jobs of larger priority keep their racks")


class FleetSchema(Schema):
    """A fleet."""

    model_config = ConfigDict(title="a fleet")
    name: Text = Field(description="Name of the fleet")
    topology: Text = Field(description="Topology file, beside the fleet file, or the name of an example")
    jobs: Annotated[list[FleetJobSchema], Field(min_length=1, description="The jobs")]


def load_fleet(path: str) -> Fleet:
    """The fleet of a file. Raises InputError with every finding."""
    doc = load(path, "fleet")
    spec = validate(doc, FleetSchema)
    found = Collector()
    for i, job in enumerate(spec.jobs):
        _check(found, doc, i, job, [j.name for j in spec.jobs[:i]])
    found.raise_if_errors()
    folder = Path(doc.file).parent
    jobs = tuple(
        FleetJob(
            j.name, _beside(folder, j.model), None if j.job is None else str(folder / j.job), j.racks, j.min_racks, j.priority,
            *((j.deadline.tokens, j.deadline.days, j.deadline.mfu) if j.deadline else ()),
        )
        for j in spec.jobs
    )  # fmt: skip
    return Fleet(spec.name, _beside(folder, spec.topology), jobs)


def _beside(folder: Path, name: str) -> str:
    """A file beside the fleet file, else what other commands understand."""
    here = folder / name
    return str(here) if here.is_file() else name


def _check(found: Collector, doc: Document, i: int, job: FleetJobSchema, before: list[str]) -> None:
    def report(name: str, key: str, message: str, help: str) -> None:
        found.add(Diagnostic(f"fleet/{name}", message, primary=Label(doc.key_span(("jobs", i, key))), help=help))

    if job.name in before:
        report("job-twice", "name", f"two jobs are called `{job.name}`", "every job has its own name")
    if not job.name.replace("-", "").replace("_", "").replace(".", "").isalnum() or job.name.startswith("."):
        report("job-name", "name", f"`{job.name}` cannot name a directory", "use letters, digits, `-`, `_` and `.`")
    if (job.racks is None) == (job.deadline is None):
        report("job-size", "name", f"`{job.name}` needs a size: racks or a deadline, and not both", "write `racks: 128`")
    if job.min_racks and job.racks and job.min_racks > job.racks:
        report("job-size", "min_racks", f"`min_racks` {job.min_racks} is more than `racks` {job.racks}", "it is the least")


__all__ = ["InputError", "load_fleet"]

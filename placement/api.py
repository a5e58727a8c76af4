# SPDX-License-Identifier: Apache-2.0
"""The functions of `import placement`: read the inputs, compile, write, read, verify. Everything else is the inside.

Every value is a frozen dataclass over read-only numpy arrays (`placement.ir`). Errors are `placement.diag.PlacementError`:
InputError with every finding and its place, Infeasible with the histogram of rejections, PlanError for a plan that is damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from placement.ir import Cluster, Efficiency, Job, ModelGraph, Plan
    from placement.runtime import LoadedPlan
    from placement.verify import Verification

__all__ = ["compile", "load_cluster", "load_job", "load_model", "load_plan", "verify", "write_plan"]


def load_cluster(path: Path | str) -> Cluster:
    """Read a topology file, or a packaged example by its name. Raises InputError."""
    from placement.ingest.anyfile import load_cluster as read

    return read(str(path))


def load_model(path: Path | str) -> tuple[ModelGraph, dict[str, Any]]:
    """Read a model file, or a packaged example by its name: the graph, and the defaults of its `job:`. Raises InputError."""
    from placement.spec import load_model as read

    return read(str(path))


def load_job(
    path: Path | str | None = None,
    defaults: Mapping[str, Any] | None = None,
    pins: Mapping[str, str | int] | None = None,
    **options: Any,
) -> Job:
    """A job from a file, under the defaults of a model. `pins` fix degrees (`{"tp": 8}`); `options` are `effort`, `seed`,
    `spares` and `max_gpus`, as on the command line. Raises InputError.
    """
    from placement.spec import load_job as read

    given = {name: str(value) for name, value in (pins or {}).items()}
    return read(None if path is None else str(path), dict(defaults or {}), given, **options)


def compile(  # noqa: A001  the word for what a compiler does
    cluster: Cluster,
    model: ModelGraph,
    job: Job,
    efficiency: Efficiency | None = None,
    observe: Callable[[str, int, int, str], None] | None = None,
) -> Plan:
    """Choose a strategy, cut the model into stages, place every rank, and bound what could be better.

    `efficiency`: constants of the cost model, default the fitted ones. `observe(stage, done, total, detail)` hears of progress.
    Raises Infeasible.
    """
    from placement.compile import compile_plan, silent
    from placement.spec.catalog import efficiency as constants

    return compile_plan(cluster, model, job, efficiency or constants(), observe or silent)


def write_plan(plan: Plan, out: Path | str, inputs: Mapping[str, bytes] | None = None) -> str:
    """Write a plan directory whole or not at all; its digest. `inputs`: copies of the files that the plan was made from."""
    from placement.runtime import write_plan as write

    return write(plan, Path(out), inputs or {})


def load_plan(path: Path | str) -> LoadedPlan:
    """Read a plan directory, every checksum looked at. Raises PlanError."""
    from placement.runtime import load_plan as read

    return read(path)


def verify(
    plan: LoadedPlan | Path | str,
    cluster: Cluster,
    model: ModelGraph,
    job: Job,
    efficiency: Efficiency | None = None,
) -> Verification:
    """Derive every claim of a plan again, with code that the compiler does not share. `.ok`, `.checks`, `.diagnostics`."""
    from placement.spec.catalog import efficiency as constants
    from placement.verify import verify as derive

    loaded = load_plan(plan) if isinstance(plan, Path | str) else plan
    return derive(loaded, cluster, model, job, efficiency or constants())

# SPDX-License-Identifier: Apache-2.0
"""One function for many tasks, by joblib: in processes here, or on a Dask or Ray cluster that runs already."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import typer

T = TypeVar("T")


def spread(function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], jobs: int, backend: str) -> list[T]:
    """Results in the order of the tasks. `jobs`: processes, -1 for one a core; a cluster gives all its cores unless it is more
    than 1, since joblib keeps a single one here. Raises typer.BadParameter for a backend that is not installed.
    """
    joblib: Any = importlib.import_module("joblib")  # ships no types
    width = jobs if backend == "loky" or jobs > 1 else -1
    with _connected(backend), joblib.parallel_config(backend=backend, n_jobs=width):
        return list(joblib.Parallel()(joblib.delayed(function)(*task) for task in tasks))


@contextmanager
def _connected(backend: str) -> Iterator[None]:
    """Reach a running cluster by its own settings (DASK_SCHEDULER_ADDRESS, RAY_ADDRESS), as long as it is needed."""
    name = {"dask": "dask.distributed", "ray": "ray.util.joblib"}.get(backend)
    try:
        module: Any = importlib.import_module(name) if name else None
    except ImportError as error:
        raise typer.BadParameter(f"{backend} is not installed: {error}", param_hint="--backend") from None
    if backend == "ray":
        module.register_ray()
    with module.Client() if backend == "dask" else nullcontext():
        yield

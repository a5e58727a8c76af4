# SPDX-License-Identifier: Apache-2.0
"""Every value of plan.json, one by one: changed, it is caught; made nonsense, it is caught without a traceback."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from placement.ir import Job
from placement.runtime import load_plan, write_plan
from placement.spec import catalog, load_cluster
from placement.verify import verify
from tests.compiled import compiled
from tests.plans import INPUTS, tiny_model
from tests.unit.verify.test_referee import with_json

# What nothing can be held against: what the search did, words, names, and hints of which any is as true.
# The digest of the plan covers them all the same.
WORDS = ("warnings", "tool", "efficiency.provenance", "format_version", "search.stopped_by", "search.runners_up")
COUNTS = ("search.enumerated", "search.feasible", "search.scored", "search.rejected")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory):
    plan = compiled(load_cluster("tiny"), tiny_model(tied=True), Job(64, 16), catalog.efficiency(), tp=2, ep=2, dp=2, pp=2)
    plan = dataclasses.replace(plan, warnings=("none",))
    out = tmp_path_factory.mktemp("leaf") / "plan"
    write_plan(plan, out, INPUTS)
    return plan, load_plan(out)


def leaves(tree: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    elif isinstance(tree, list):
        for i, value in enumerate(tree):
            yield from leaves(value, (*path, i))
    else:
        yield path, tree


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value * 2 + 1
    return f"{value}x"


def failures(honest, path: tuple, value: Any) -> set[str]:
    plan, loaded = honest
    verdict = verify(with_json(loaded, *path, value), plan.cluster, plan.model, plan.job, plan.efficiency)
    return {c.name for c in verdict.checks if not c.ok}


def unchecked(path: tuple) -> bool:
    name = ".".join(map(str, path))
    return (
        name.startswith((*WORDS, *COUNTS, "digest", "files"))
        or name.endswith((".method", ".price_at", ".unit", ".share"))
        or ".tolls" in name
        or ".prices" in name
    )


def test_the_plan_is_honest(honest) -> None:
    """Unchanged, the plan of these tests passes every check, so that what fails below fails for its own reason."""
    assert failures(honest, ("warnings",), ["none"]) == set()


def test_every_changed_leaf_is_caught(honest, tmp_path: Path) -> None:
    """There is no value in plan.json, words and counts of the search aside, that can be wrong without a check that says so."""
    missed = [
        ".".join(map(str, p))
        for p, v in leaves(honest[1].json)
        if not unchecked(p) and failures(honest, p, changed(v)) <= {"plan-digest"}
    ]
    assert not missed, ", ".join(missed)


def test_the_digest_covers_the_rest(honest) -> None:
    """What no other check can judge is still under the digest."""
    rest = [(p, v) for p, v in leaves(honest[1].json) if unchecked(p)]
    assert rest
    assert all("plan-digest" in failures(honest, p, changed(v)) for p, v in rest)


@pytest.mark.parametrize("nonsense", [None, "x", [], -1, float("nan")], ids=str)
def test_nonsense_is_caught_without_a_traceback(honest, nonsense: Any) -> None:
    """A value of the wrong type anywhere fails a check; the referee itself never fails."""
    for path, value in leaves(honest[1].json):
        if type(value) is not type(nonsense) or value != nonsense:
            assert failures(honest, path, nonsense), path


@pytest.mark.parametrize(
    "branch", ["strategy", "stages", "predicted", "cluster", "spares", "certificate", "search", "traffic", "job"]
)
@pytest.mark.parametrize("nonsense", [None, [], {}, "x", 7])
def test_missing_branches_are_caught(honest, branch: str, nonsense: Any) -> None:
    """A whole branch that is missing or of another shape fails the checks that need it."""
    assert failures(honest, (branch,), nonsense) > {"plan-digest"} or nonsense == honest[1].json[branch]

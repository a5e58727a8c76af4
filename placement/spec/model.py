# SPDX-License-Identifier: Apache-2.0
"""Model files -> ModelGraph. All errors of a file at once, each at its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from placement.diag import Collector, Diagnostic, InputError, Label
from placement.ir import ModelGraph
from placement.spec.job import check_defaults
from placement.spec.model_check import Finding, check_transformer, finding
from placement.spec.model_graph import check_graph, lower_graph
from placement.spec.model_short import lower_transformer
from placement.spec.model_types import Graph, ModelSpec, Transformer
from placement.spec.source import Document, KeyPath, load
from placement.spec.validate import validate

__all__ = ["Graph", "ModelSpec", "Transformer", "load_model", "lower_long", "lower_model", "lower_short"]

S = TypeVar("S", Transformer, Graph, ModelSpec)

RUN_KEYS = ("key", "name", "seq_len", "kind", "params_total_b", "params_active_b")  # of a `model:` in a file of measured runs


def load_model(path: str | Path) -> tuple[ModelGraph, dict[str, Any]]:
    """The graph of a model file, and its `job:` defaults as typed (text; `load_job` checks and reads them).

    A bare name finds an example that comes with the tool. Raises InputError with every diagnostic.
    """
    doc = load(path, "model")
    spec = check_model(doc)
    return lower_model(spec, _sources(doc)), dict(spec.job)


def check_model(doc: Document) -> ModelSpec:
    """A model document as a checked spec. Raises InputError with the findings of the schema and of `model_check`."""
    found = Collector()
    spec = _validated(doc, ModelSpec, found)
    tree = doc.tree if isinstance(doc.tree, Mapping) else {}
    for item in _findings(tree):
        found.add(_placed(doc, item))
    if isinstance(tree.get("job"), Mapping):
        found.found.extend(check_defaults(doc))
    found.raise_if_errors()
    assert spec is not None
    return spec


def lower_model(spec: ModelSpec, source: Mapping[str, tuple[str, int, int]] | None = None) -> ModelGraph:
    """The graph of a checked spec."""
    if spec.transformer is not None:
        model = lower_transformer(spec.transformer, spec.name, spec.hypothetical)
    else:
        assert spec.graph is not None
        model = lower_graph(spec.graph, spec.name, spec.hypothetical)
    return replace(model, source=dict(source or {}))


def lower_short(mapping: Mapping[str, Any], name: str = "") -> ModelGraph:
    """The graph of a short form given as a mapping; takes the `model:` of a measured run as it is. Raises InputError.

    Such a mapping names the run and its published parameters too, may say `experts: 0` of a dense model, and gives a head_dim
    beside `mla`, which decides the widths.

    >>> lower_short({"layers": 2, "hidden": 8, "heads": 2, "ffn": 16, "vocab": 10}).num_params
    1480
    """
    tree = {key: value for key, value in mapping.items() if key not in RUN_KEYS and value is not None}
    for key in ("experts", "topk", "moe_ffn", "sliding_window", "sliding_window_every"):
        if str(tree.get(key)) == "0":
            del tree[key]
    if tree.get("mla"):
        tree.pop("head_dim", None)
    spec = _checked(tree, Transformer, check_transformer(tree))
    return lower_transformer(spec, name or str(mapping.get("key") or mapping.get("name") or "model"), hypothetical=False)


def lower_long(mapping: Mapping[str, Any], name: str = "model") -> ModelGraph:
    """The graph of a long form given as a mapping. Raises InputError."""
    spec = _checked(dict(mapping), Graph, check_graph(mapping, ()))
    return lower_graph(spec, name, hypothetical=False)


def _checked(tree: dict[str, Any], schema: type[S], findings: Iterator[Finding]) -> S:
    doc = Document("<model>", "", tree, {}, {}, "model")
    found = Collector()
    spec = _validated(doc, schema, found)
    for item in findings:
        found.add(_placed(doc, item))
    found.raise_if_errors()
    assert spec is not None
    return spec


def _validated(doc: Document, schema: type[S], found: Collector) -> S | None:
    try:
        return validate(doc, schema)
    except InputError as error:
        found.found.extend(error.diagnostics)
        return None


def _findings(tree: Mapping[str, Any]) -> Iterator[Finding]:
    transformer, graph = tree.get("transformer"), tree.get("graph")
    if (transformer is None) == (graph is None):
        yield _which_form(graph is not None)
    if isinstance(transformer, Mapping):
        yield from check_transformer(transformer, ("transformer",))
    if isinstance(graph, Mapping):
        yield from check_graph(graph)


def _which_form(both: bool) -> Finding:
    if both:
        return finding(("graph",), "which-form", "the model has both a transformer and a graph", "keep one of them")
    advice = "add `transformer:` with layers, hidden, heads, ffn and vocab"
    return finding((), "which-form", "the model has no transformer and no graph", advice)


def _placed(doc: Document, item: Finding) -> Diagnostic:
    return replace(item.diagnostic, primary=Label(doc.span(item.path)))


def _sources(doc: Document) -> dict[str, tuple[str, int, int]]:
    """Places of the keys down to the second level (`transformer.layers`, `job.precision`) and of the nodes of a graph."""
    paths: list[KeyPath] = [path for path in doc.keys if len(path) <= 2 or (len(path) == 3 and path[1] == "nodes")]
    return {".".join(map(str, path)): doc.where(path) for path in paths}

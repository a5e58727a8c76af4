# SPDX-License-Identifier: Apache-2.0
"""Long form: nodes and edges -> ModelGraph, in a topological order that keeps to the order of the file where it can."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

from placement.ir import BlockType, ModelGraph, Op, Opaque, Pointwise, Vocab
from placement.spec.model_blocks import layer_type
from placement.spec.model_check import Finding, check_layer, finding, given, number
from placement.spec.model_short import Builder
from placement.spec.model_types import Graph, Node

BF16_BYTES = 2  # `weights` are given in bf16, as checkpoints store them
MAX_BLOCKS = 200_000
MOST_UNKNOWN, MOST_SUGGESTED = 50, 2_000  # comparing every name with every node would take minutes on a hostile file
OWNER = {
    "params": "forward", "weights": "forward", "activations": "forward", "moved": "forward", "tensor_parallel": "forward",
    "causal": "layer", "sliding_window": "layer",
}  # fmt: skip
KINDS = ("forward", "layer", "embedding", "head")


def lower_graph(spec: Graph, name: str, hypothetical: bool) -> ModelGraph:
    """The graph of a checked long form."""
    first, last, names = expand({key: node.repeat for key, node in spec.nodes.items()})
    ends = [(last.get(e.source, names.get(e.source, -1)), first.get(e.target, names.get(e.target, -1))) for e in spec.edges]
    chains = [(i, i + 1) for key in spec.nodes for i in range(first[key], last[key])]
    order, left = topological(len(names), chains + ends)
    assert not left, "a checked graph has no cycle"
    graph, owner = Builder(), _owners(spec, first, last)
    place, listed = {old: new for new, old in enumerate(order)}, list(names)
    kinds = {key: block_type(key, node, spec) for key, node in spec.nodes.items()}
    for old in order:
        graph.block(listed[old], kinds[owner[old]])
    for (a, b), width in zip(ends, (e.width for e in spec.edges), strict=True):
        node = spec.nodes[owner[a]]
        graph.edge(place[a], place[b], (width or _width(node, spec)) * node.tokens_ratio)
    for a, b in chains:
        node = spec.nodes[owner[a]]
        graph.edge(place[a], place[b], _width(node, spec) * node.tokens_ratio)
    graph.tied = [_ordered(place[names.get(a, last.get(a, -1))], place[names.get(b, last.get(b, -1))]) for a, b in spec.tied]
    return graph.build(name, spec.hidden, spec.vocab, hypothetical)


def block_type(name: str, node: Node, graph: Graph) -> BlockType:
    """Operations of one node. Numbers are turned from a token of the node into a token of the sequence."""
    if node.layer:
        kind = layer_type(node.layer, name, routed=bool(node.layer.experts), causal=node.causal, window=node.sliding_window)
        return replace(kind, tokens_ratio=node.tokens_ratio, span=node.span)
    ops: tuple[Op, ...]
    if node.embedding:
        ops = (Vocab(graph.vocab, graph.hidden, lookup=True), Pointwise(graph.hidden, "embed", "sp"))
    elif node.head:
        ops = (Pointwise(graph.hidden, "norm", "sp"), Vocab(graph.vocab, graph.hidden, lookup=False))
        return BlockType(name, ops, graph.hidden, graph.hidden, node.tokens_ratio, node.span)
    else:
        ratio, params = node.tokens_ratio, node.params if node.params is not None else round((node.weights or 0) / BF16_BYTES)
        numbers = (node.forward or 0.0) * ratio, params, node.activations * ratio, node.moved * ratio
        return BlockType(name, (Opaque(*numbers, node.tensor_parallel),), _width(node, graph), span=node.span)
    return BlockType(name, ops, graph.hidden, 0, node.tokens_ratio, node.span)


def expand(repeat: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """First and last block of each node, and the index of each block by name (`node`, or `node.i` of a repeated one)."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    names: dict[str, int] = {}
    for key, times in repeat.items():
        first[key] = len(names)
        names.update({key if times == 1 else f"{key}.{i}": len(names) + i for i in range(times)})
        last[key] = len(names) - 1
    return first, last, names


def topological(count: int, edges: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Kahn's algorithm (1962), smallest index first: the order, and the blocks on or behind cycles."""
    waits, next_of = [0] * count, [[] for _ in range(count)]  # type: tuple[list[int], list[list[int]]]
    for a, b in edges:
        waits[b] += 1
        next_of[a].append(b)
    ready, order = [i for i in range(count) if not waits[i]], []
    while ready:
        order.append(heapq.heappop(ready))
        for b in next_of[order[-1]]:
            waits[b] -= 1
            if not waits[b]:
                heapq.heappush(ready, b)
    return order, [i for i in range(count) if waits[i]]


def check_graph(tree: Mapping[str, Any], path: tuple[str | int, ...] = ("graph",)) -> Iterator[Finding]:
    """Findings of the long form: what a node is, edges and ties to unknown nodes, edges given twice, cycles."""
    nodes = tree.get("nodes")
    if not isinstance(nodes, Mapping):
        return
    for key, node in nodes.items():
        if "." in key:
            yield finding((*path, "nodes", key), "node-name", f"the name `{key}` has a dot, as repeats have", "use a dash")
        if isinstance(node, Mapping):
            yield from _check_node(node, (*path, "nodes", key))
    repeat = {key: max(1, number(node, "repeat") or 1) if isinstance(node, Mapping) else 1 for key, node in nodes.items()}
    if sum(repeat.values()) > MAX_BLOCKS:
        yield finding((*path, "nodes"), "too-many-blocks", f"the graph has more than {MAX_BLOCKS:,} blocks, repeats counted")
        return
    yield from _check_edges(tree, path, repeat)


def _check_node(node: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Finding]:
    kinds = [kind for kind in KINDS if given(node, kind) and str(node[kind]).lower() not in ("false", "no", "off")]
    if len(kinds) != 1:
        found = " and ".join(kinds) if kinds else "none of them"
        message = f"node `{path[-1]}` must be one of forward (numbers), layer, embedding, head; it has {found}"
        yield finding(path, "node-kind", message, "write `forward: 3.1 GFLOP`, or `layer: {...}`")
    for key, owner in OWNER.items():
        if given(node, key) and len(kinds) == 1 and kinds[0] != owner:
            message = f"`{key}` has no effect on node `{path[-1]}`, which is given by `{kinds[0]}`"
            yield finding((*path, key), "no-effect", message, f"leave it out, it belongs to nodes with `{owner}`")
    if given(node, "params") and given(node, "weights"):
        yield finding((*path, "weights"), "params-twice", f"node `{path[-1]}` gives params and weights", "keep one of them")
    layer = node.get("layer")
    if isinstance(layer, Mapping):
        yield from check_layer(layer, (*path, "layer"))
        if not given(layer, "experts") and not given(layer, "ffn"):
            yield finding((*path, "layer"), "ffn-missing", "a dense layer needs ffn", "write `ffn: 28672`")


def _check_edges(tree: Mapping[str, Any], path: tuple[str | int, ...], repeat: Mapping[str, int]) -> Iterator[Finding]:
    first, last, names = expand(repeat)
    inner = {(i, i + 1) for key in repeat for i in range(first[key], last[key])}
    seen: dict[tuple[int, int], int] = {}
    for i, edge in enumerate(_items(tree.get("edges"))):
        here = (*path, "edges", i)
        ends = {side: edge.get(side) for side in ("source", "target")} if isinstance(edge, Mapping) else {}
        a = last.get(str(ends.get("source")), names.get(str(ends.get("source"))))
        b = first.get(str(ends.get("target")), names.get(str(ends.get("target"))))
        if a is None or b is None:
            continue
        if (a, b) in seen or (a, b) in inner:
            message = f"the edge from `{ends['source']}` to `{ends['target']}` is given twice"
            yield finding(here, "edge-twice", message, "add the widths and keep one edge")
        seen.setdefault((a, b), i)
    yield from _check_isolated(tree, path, repeat)
    yield from islice(_unknown_nodes(tree, path, {**first, **names}), MOST_UNKNOWN)
    yield from _check_ties(tree, path)
    yield from _check_cycle(list(names), inner, seen, path)


def _check_isolated(tree: Mapping[str, Any], path: tuple[str | int, ...], repeat: Mapping[str, int]) -> Iterator[Finding]:
    """A node that no edge names was forgotten, in a graph of more than one."""
    ends = {
        str(edge.get(side)) for edge in _items(tree.get("edges")) if isinstance(edge, Mapping) for side in ("source", "target")
    }
    joined = ends | {end.rsplit(".", 1)[0] for end in ends}
    for key in repeat if len(repeat) > 1 else ():
        if key not in joined:
            yield finding((*path, "nodes", key), "isolated-node", f"node `{key}` has no edge", "add an edge to or from it")


def _check_ties(tree: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Finding]:
    for i, pair in enumerate(_items(tree.get("tied"))):
        if len(_items(pair)) == 2 and pair[0] == pair[1]:
            yield finding((*path, "tied", i), "tied-to-itself", f"`{pair[0]}` is tied to itself", "name two different nodes")


def _unknown_nodes(tree: Mapping[str, Any], path: tuple[str | int, ...], known: Mapping[str, int]) -> Iterator[Finding]:
    """Names in edges and ties that are no node."""
    from placement.spec.validate import did_you_mean

    places = [
        ((*path, "edges", i, side), edge.get(side))
        for i, edge in enumerate(_items(tree.get("edges")))
        if isinstance(edge, Mapping)
        for side in ("source", "target")
    ]
    ties = _items(tree.get("tied"))
    places += [((*path, "tied", i, j), name) for i, pair in enumerate(ties) for j, name in enumerate(_items(pair))]
    suggest = list(known)[:MOST_SUGGESTED]
    for where, name in places:
        if isinstance(name, str) and name not in known:
            yield finding(where, "unknown-node", f"there is no node `{name[:80]}`", did_you_mean(name[:80], suggest))


def _check_cycle(
    names: Sequence[str], chains: set[tuple[int, int]], seen: Mapping[tuple[int, int], int], path: tuple[str | int, ...]
) -> Iterator[Finding]:
    """One finding that spells out one cycle, at the last of its edges in the file."""
    edges = sorted({*chains, *seen})
    left = set(topological(len(names), edges)[1])
    if not left:
        return
    before = {b: a for a, b in edges if a in left and b in left}
    walk: dict[int, None] = {}
    at = min(left)
    while at not in walk:
        walk[at] = None
        at = before[at]
    cycle = [at, *reversed(list(walk)[list(walk).index(at) :])]
    steps = [seen[step] for step in pairwise(cycle) if step in seen]
    shown = [f"`{names[i]}`" for i in cycle]
    message = "the graph has a cycle: " + " -> ".join(shown if len(shown) <= 12 else [*shown[:6], "...", *shown[-5:]])
    yield finding((*path, "edges", max(steps, default=0)), "cycle", message, "remove one of these edges: data flows one way")


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _owners(spec: Graph, first: Mapping[str, int], last: Mapping[str, int]) -> list[str]:
    return [key for key in spec.nodes for _ in range(first[key], last[key] + 1)]


def _width(node: Node, graph: Graph) -> int:
    return node.hidden or (node.layer.hidden if node.layer else graph.hidden)


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)

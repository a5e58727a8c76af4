# SPDX-License-Identifier: Apache-2.0
"""Long form: nodes and edges -> ModelGraph, in a topological order that keeps to the order of the file where it can."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from placement.ir import BlockType, ModelGraph, Op, Opaque, Pointwise, Vocab
from placement.spec.model_blocks import layer_type
from placement.spec.model_check import Finding, check_layer, finding, given, number
from placement.spec.model_short import Builder
from placement.spec.model_types import Graph, Node

BF16_BYTES = 2  # `weights` are given in bf16, as checkpoints store them
MAX_BLOCKS = 200_000
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
    first, last, names = {}, {}, {}
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
    if given(node, "params") and given(node, "weights"):
        yield finding((*path, "weights"), "params-twice", f"node `{path[-1]}` gives params and weights", "keep one of them")
    layer = node.get("layer")
    if isinstance(layer, Mapping):
        yield from check_layer(layer, (*path, "layer"))
        if not given(layer, "experts") and not given(layer, "ffn"):
            yield finding((*path, "layer"), "ffn-missing", "a dense layer needs ffn", "write `ffn: 28672`")


def _check_edges(tree: Mapping[str, Any], path: tuple[str | int, ...], repeat: Mapping[str, int]) -> Iterator[Finding]:
    first, last, names = expand(repeat)
    seen: dict[tuple[int, int], int] = {}
    for i, edge in enumerate(_items(tree.get("edges"))):
        here = (*path, "edges", i)
        ends = {side: edge.get(side) for side in ("source", "target")} if isinstance(edge, Mapping) else {}
        for side, name in ends.items():
            if isinstance(name, str) and name not in names and name not in first:
                yield _unknown((*here, side), name, [*first, *names])
        a = last.get(str(ends.get("source")), names.get(str(ends.get("source"))))
        b = first.get(str(ends.get("target")), names.get(str(ends.get("target"))))
        if a is None or b is None:
            continue
        if (a, b) in seen:
            message = f"the edge from `{ends['source']}` to `{ends['target']}` is given twice"
            yield finding(here, "edge-twice", message, "add the widths and keep one edge")
        seen.setdefault((a, b), i)
    yield from _check_ties(tree, path, [*first, *names])
    chains = [(i, i + 1) for key in repeat for i in range(first[key], last[key])]
    yield from _check_cycle(list(names), chains, seen, path)


def _check_ties(tree: Mapping[str, Any], path: tuple[str | int, ...], known: Sequence[str]) -> Iterator[Finding]:
    for i, pair in enumerate(_items(tree.get("tied"))):
        for j, name in enumerate(_items(pair)):
            if isinstance(name, str) and name not in known:
                yield _unknown((*path, "tied", i, j), name, known)
        if len(_items(pair)) == 2 and pair[0] == pair[1]:
            yield finding((*path, "tied", i), "tied-to-itself", f"`{pair[0]}` is tied to itself", "name two different nodes")


def _unknown(path: tuple[str | int, ...], name: str, known: Sequence[str]) -> Finding:
    from difflib import get_close_matches

    close = get_close_matches(name, known, 1)
    help = f"did you mean `{close[0]}`?" if close else f"nodes are {', '.join(f'`{k}`' for k in known[:8])}"
    return finding(path, "unknown-node", f"there is no node `{name}`", help)


def _check_cycle(
    names: Sequence[str], chains: list[tuple[int, int]], seen: Mapping[tuple[int, int], int], path: tuple[str | int, ...]
) -> Iterator[Finding]:
    """One finding that spells out one cycle, at the last of its edges in the file."""
    edges = [*chains, *seen]
    left = set(topological(len(names), edges)[1])
    if not left:
        return
    before = {b: a for a, b in edges if a in left and b in left}
    walk, at = [], min(left)
    while at not in walk:
        walk.append(at)
        at = before[at]
    cycle = [at, *reversed(walk[walk.index(at) :])]
    steps = [seen[step] for step in zip(cycle, cycle[1:], strict=False) if step in seen]
    message = "the graph has a cycle: " + " -> ".join(f"`{names[i]}`" for i in cycle)
    yield finding((*path, "edges", max(steps, default=0)), "cycle", message, "remove one of these edges: data flows one way")


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _owners(spec: Graph, first: Mapping[str, int], last: Mapping[str, int]) -> list[str]:
    return [key for key in spec.nodes for _ in range(first[key], last[key] + 1)]


def _width(node: Node, graph: Graph) -> int:
    return node.hidden or (node.layer.hidden if node.layer else graph.hidden)


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)

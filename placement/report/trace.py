# SPDX-License-Identifier: Apache-2.0
"""A simulated step in the Chrome trace format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

One process a pipeline stage, one thread a lane; times in microseconds. Slices of a lane do not overlap; an arrow leads from
each message to the work that it feeds, and a counter shows how many chunks of activations a stage holds. Same plan, same bytes.
Format: "Trace Event Format" (Google, 2016): X complete, M metadata, C counter, s and f flow.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from placement.passes.timeline import Events


def write_trace(events: Events, path: Path) -> int:
    """Write the trace, compressed where the name ends in .gz; returns the number of events."""
    text = trace_text(events).encode()
    path.write_bytes(gzip.compress(text, 6, mtime=0) if path.suffix == ".gz" else text)
    return len(events.start_s)


def trace_text(events: Events) -> str:
    """The trace as JSON, an event a line."""
    lines = ",\n".join(
        json.dumps(e, separators=(",", ":")) for e in (*_titles(events), *_slices(events), *_held(events), *_arrows(events))
    )
    facts = json.dumps({"predicted_step_s": events.step_s})
    return f'{{"displayTimeUnit":"ms","otherData":{facts},"traceEvents":[\n{lines}\n]}}\n'


def _titles(events: Events) -> Iterator[dict[str, Any]]:
    from placement.passes.timeline import LANES

    for stage in sorted(set(events.stage.tolist())):
        yield {"ph": "M", "name": "process_name", "pid": stage, "args": {"name": f"stage {stage}"}}
        yield {"ph": "M", "name": "process_sort_index", "pid": stage, "args": {"sort_index": stage}}
        for tid, lane in enumerate(LANES):
            yield {"ph": "M", "name": "thread_name", "pid": stage, "tid": tid, "args": {"name": lane}}
            yield {"ph": "M", "name": "thread_sort_index", "pid": stage, "tid": tid, "args": {"sort_index": tid}}


def _slices(events: Events) -> Iterator[dict[str, Any]]:
    from placement.passes.timeline import LANES, NAMES

    rows = zip(
        events.stage.tolist(), events.lane.tolist(), events.name.tolist(), events.chunk.tolist(), events.microbatch.tolist(),
        events.start_s.tolist(), events.seconds.tolist(), strict=True,
    )  # fmt: skip
    for stage, lane, name, chunk, microbatch, start_s, seconds in rows:
        event: dict[str, Any] = {
            "ph": "X", "pid": stage, "tid": lane, "name": NAMES[name], "cat": LANES[lane],
            "ts": round(start_s * 1e6, 3), "dur": round(seconds * 1e6, 3),
        }  # fmt: skip
        if chunk >= 0:
            event["args"] = {"chunk": chunk, "microbatch": microbatch}
        yield event


def _held(events: Events) -> Iterator[dict[str, Any]]:
    """Chunks whose activations a stage holds: one more when a forward starts, one less when the last gradient of it ends."""
    from placement.cost.schedules import BACKWARD, FORWARD, WGRAD

    ends = np.isin(events.name, (BACKWARD, WGRAD))
    begins = events.name == FORWARD
    when_s = np.concatenate([events.start_s[begins], (events.start_s + events.seconds)[ends]])
    step = np.concatenate([np.ones(int(begins.sum()), int), np.full(int(ends.sum()), -1)])
    stage = np.concatenate([events.stage[begins], events.stage[ends]])
    for p in np.unique(stage).tolist():
        mine = np.flatnonzero(stage == p)
        mine = mine[np.lexsort((step[mine], when_s[mine]))]
        for at_s, n in zip(when_s[mine].tolist(), np.cumsum(step[mine]).tolist(), strict=True):
            yield {"ph": "C", "name": "activations held", "pid": p, "ts": round(at_s * 1e6, 3), "args": {"chunks": n}}


def _arrows(events: Events) -> Iterator[dict[str, Any]]:
    """From each message to the forward or the gradient on the next stage that waits for it."""
    from placement.cost.schedules import BACKWARD, DGRAD, FORWARD
    from placement.passes.timeline import BACK, BETWEEN, COMPUTE, NAMES, SEND

    number = 0
    for sent, step, waiting in ((SEND, 1, (FORWARD,)), (BACK, -1, (BACKWARD, DGRAD))):
        at = np.flatnonzero((events.lane == COMPUTE) & np.isin(events.name, waiting))
        work = {(int(events.chunk[i]), int(events.microbatch[i])): int(i) for i in at}
        for i in np.flatnonzero(events.name == sent).tolist():
            to = work.get((int(events.chunk[i]) + step, int(events.microbatch[i])))
            if to is None or events.stage[to] == events.stage[i]:
                continue
            number += 1
            for ph, k, lane, more in (("s", i, BETWEEN, {}), ("f", to, COMPUTE, {"bp": "e"})):
                ts = round(float(events.start_s[k]) * 1e6, 3)
                yield {
                    "ph": ph,
                    "id": number,
                    "name": NAMES[sent],
                    "cat": "message",
                    "pid": int(events.stage[k]),
                    "tid": lane,
                    "ts": ts,
                    **more,
                }

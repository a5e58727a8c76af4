# SPDX-License-Identifier: Apache-2.0
"""A simulated step in the Chrome trace format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

One process a pipeline stage, one thread a lane; times in microseconds. Same plan, same bytes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from placement.passes.timeline import Events


def write_trace(events: Events, path: Path) -> int:
    """Write the trace, compressed where the name ends in .gz; returns the number of events."""
    text = trace_text(events).encode()
    path.write_bytes(gzip.compress(text, 6, mtime=0) if path.suffix == ".gz" else text)
    return len(events.start_s)


def trace_text(events: Events) -> str:
    """The trace as JSON, an event a line."""
    lines = ",\n".join(json.dumps(e, separators=(",", ":")) for e in (*_titles(events), *_slices(events)))
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

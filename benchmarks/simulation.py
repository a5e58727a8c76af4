# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.simulation`: seconds of one event simulation of pp 16 x vpp 4 x 256 microbatches. Prints one number.

Processor seconds of the first simulation in a new process: the order of the stages, the graph and the longest path through its
32,768 pieces of work are all inside.
"""

from __future__ import annotations

import time

import numpy as np

PP, VPP, MICROBATCHES = 16, 4, 256


def main() -> None:
    """Simulates once, with chunks that differ."""
    from placement.cost.pipeline import simulate

    chunks = PP * VPP
    forward = np.linspace(1.0, 1.1, chunks)
    start = time.process_time()
    found = simulate("interleaved", PP, VPP, MICROBATCHES, forward, 1.1 * forward, 0.9 * forward, np.full(chunks - 1, 0.01))
    seconds = time.process_time() - start
    assert len(found.start_s) == 2 * chunks * MICROBATCHES
    print(f"{seconds:.4f}")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Measurements of the whole program. `python -m benchmarks` runs them all and writes RESULTS.md."""

# SPDX-License-Identifier: Apache-2.0
"""Exit codes (DESIGN §12)."""

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    INPUT = 1  # the inputs have errors, or a file can't be read or written
    USAGE = 2
    INFEASIBLE = 3
    PLAN = 4  # verification failed, or the plan is damaged or stale
    DIFFERENT = 5
    INTERNAL = 70
    INTERRUPTED = 130

# SPDX-License-Identifier: Apache-2.0
"""The command line: one small module a verb. Importing it is light; heavy rooms load inside the command that needs them."""

from placement.cli.main import main

__all__ = ["main"]

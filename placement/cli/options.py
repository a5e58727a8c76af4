# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


class TableFormat(StrEnum):
    TEXT = "text"
    CSV = "csv"
    JSON = "json"


Out = Annotated[Format, typer.Option("--format", help="How the result is written to stdout.")]
TableOut = Annotated[TableFormat, typer.Option("--format", help="How the result is written to stdout.")]
PlanDir = Annotated[
    str, typer.Argument(metavar="DIR", help="A plan directory written by `placement plan`.", show_default=False)
]
PlanOrMap = Annotated[
    str,
    typer.Argument(metavar="DIR", help="A directory written by `placement plan` or `placement map`.", show_default=False),
]
ModelFile = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model YAML, or the name of a packaged example.", show_default=False)
]
TopologyFile = Annotated[
    str, typer.Argument(metavar="TOPOLOGY", help="A topology YAML, or the name of a packaged example.", show_default=False)
]

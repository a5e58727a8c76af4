# SPDX-License-Identifier: Apache-2.0
"""`placement schema topology|model|job|plan`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from placement.cli import output


class Kind(StrEnum):
    TOPOLOGY = "topology"
    MODEL = "model"
    JOB = "job"
    PLAN = "plan"


def schema(kind: Annotated[Kind, typer.Argument(help="Which file to describe.", show_default=False)]) -> int:
    """JSON Schema of an input file or of plan.json, for editors and checkers."""
    import json

    from placement.spec import schemas

    output.result(json.dumps(schemas.schema(kind.value), indent=2, sort_keys=True))
    return 0

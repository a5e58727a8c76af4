# SPDX-License-Identifier: Apache-2.0
"""`placement diff A B [--exit-code]`."""

from __future__ import annotations

from typing import Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A plan directory.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another plan directory.", show_default=False)],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 5 if the plans differ.")] = False,
    fmt: Out = Format.TEXT,
) -> int:
    """What differs between two plans: inputs, strategy, stages, ranks that move, cost."""
    from placement.report.diff import diff_facts, diff_text
    from placement.runtime import load_plan

    left, right = load_plan(a), load_plan(b)
    facts = diff_facts(left, right)
    if fmt is Format.JSON:
        output.result_json(facts)
    else:
        output.plain(diff_text(facts, left.json, right.json))
    return Exit.DIFFERENT if exit_code and facts["different"] else Exit.OK

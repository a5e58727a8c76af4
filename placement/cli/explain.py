# SPDX-License-Identifier: Apache-2.0
"""`placement explain NAME|--all`."""

from __future__ import annotations

from typing import Annotated

import typer

from placement.cli import output
from placement.cli.options import Format, Out


def explain(
    name: Annotated[str | None, typer.Argument(help="Name of a diagnostic, such as `topology/unknown-key`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Print every page.")] = False,
    fmt: Out = Format.TEXT,
) -> int:
    """What a diagnostic means, why it matters, and what to write instead."""
    from placement.report.pages import closest, names, page_json, page_of, page_text, parse

    if every == (name is not None):
        raise typer.BadParameter("give one NAME or --all")
    if name is not None and page_of(name) is None:
        near = closest(name)
        raise typer.BadParameter(f"no page `{name}`" + (f"; did you mean `{near}`?" if near else "; --all lists them"))
    pages = [parse(n) for n in (names() if name is None else (name,))]
    if fmt is Format.JSON:
        output.result_json({"pages": [page_json(p) for p in pages]})
    else:
        output.result("\n\n".join(page_text(p) for p in pages))
    return 0

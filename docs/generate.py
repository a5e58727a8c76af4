# SPDX-License-Identifier: Apache-2.0
"""Reference pages that the code knows best, made when the site is built: commands, diagnostics, fields of the input files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from placement.cli.app import app_of
from placement.report.pages import names, parse
from placement.report.results import RESULTS, result_schema
from placement.spec.schemas import KINDS, schema


def pages() -> dict[str, str]:
    """Path of each generated page and its text."""
    return {
        "reference/commands.md": commands(),
        "reference/diagnostics.md": diagnostics(),
        "reference/fields.md": fields(),
        "reference/results.md": results(),
    }


def commands() -> str:
    """The help of every command, as it is printed."""
    parts = ["# Commands", "The help of each command, as `placement COMMAND --help` prints it."]
    for name, command in _walk(get_command(app_of()), ""):
        context = typer.Context(command, info_name=f"placement {name}", max_content_width=96)
        parts += [f"## placement {name}", "```text", context.get_help().replace("\b", "").rstrip(), "```"]
    return "\n\n".join(parts).replace("```text\n\n", "```text\n").replace("\n\n```", "\n```") + "\n"


def _walk(command: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by what is typed."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield prefix, command
        return
    for name in inner:
        yield from _walk(inner[name], f"{prefix} {name}".strip())


def diagnostics() -> str:
    """The page of every diagnostic, by room."""
    parts = ["# Diagnostics", "What `placement explain NAME` prints. `*/…` stands for every kind of input file."]
    room = ""
    for name in names():
        page = parse(name)
        if name.partition("/")[0] != room:
            room = name.partition("/")[0]
            parts.append(f"## {room if room != '*' else 'any input file'}".replace("*", "\\*"))
        parts.append(f"### {name.replace('*', chr(92) + '*')} ({page.severity})")
        parts += [_section(title, text) for title, text in page.sections.items()]
    return "\n\n".join(parts) + "\n"


def _section(title: str, text: str) -> str:
    if title in ("Example", "Use instead"):
        return f"**{title}**\n\n```text\n{text}\n```"
    return f"**{title}.** {text}".replace("<", "&lt;")


def fields() -> str:
    """Every key of topology, model, job and communication files, from the schemas that editors use."""
    parts = ["# Fields of the input files", "Generated from the JSON Schemas (`placement schema KIND`)."]
    for kind in KINDS:
        if kind == "plan":
            continue
        tree = schema(kind)
        parts += [f"## {kind}", str(tree.get("description", "")), _table(tree)]
        for name, part in tree.get("definitions", {}).items():
            if part.get("properties"):
                parts += [f"### {kind}: {name}", str(part.get("description", "")), _table(part)]
    return "\n\n".join(part for part in parts if part) + "\n"


def results() -> str:
    """Every key that commands print with `--format json`, from the schemas of the results."""
    parts = [
        "# Results as JSON",
        "What commands print with `--format json`; `placement schema NAME` has the schema. `plan` prints plan.json.",
    ]
    for name in RESULTS:
        tree = result_schema(name)
        parts += [
            f"## {name}",
            tree["description"],
            "\n".join(["| key | value | meaning |", "|---|---|---|", *_keys(tree, "")]),
        ]
    return "\n\n".join(parts) + "\n"


def _keys(tree: Mapping[str, Any], above: str) -> Iterator[str]:
    """One row a key, those of inner objects below it with their path."""
    for key, value in tree.get("properties", {}).items():
        path, inner, kind = f"{above}{key}", value, ""
        if "anyOf" in inner:
            inner, kind = inner["anyOf"][0], " or null"
        while inner.get("type") == "array":
            path, inner = path + "[]", inner["items"]
        if isinstance(inner.get("additionalProperties"), dict):
            path, inner = path + ".*", inner["additionalProperties"]
        told = value.get("description") or inner.get("description", "")
        typed = inner.get("type", "any")
        words = (" or ".join(typed) if isinstance(typed, list) else typed) + kind
        yield f"| `{path}` | {words} | {told.replace('|', chr(92) + '|')} |"
        yield from _keys(inner, path + ".")


def _table(tree: Mapping[str, Any]) -> str:
    needed = set(tree.get("required", ()))
    rows = ["| key | | value | meaning |", "|---|---|---|---|"]
    for key, value in tree.get("properties", {}).items():
        told = str(value.get("description", "")).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
        default = f" Default: `{value['default']}`." if value.get("default") not in (None, "", [], {}) else ""
        rows.append(f"| `{key}` | {'required' if key in needed else ''} | {_kind(value)} | {told}{default} |")
    return "\n".join(rows)


def _kind(value: Mapping[str, Any]) -> str:
    """A type in words."""
    if "enum" in value:
        return ", ".join(f"`{v}`" for v in value["enum"])
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_kind(v) for v in value["anyOf"] if v.get("type") != "null"))
    if value.get("type") == "array":
        return f"list of {_kind(value.get('items', {}))}"
    return f"`{value['const']}`" if "const" in value else str(value.get("type", "any"))


def main(out: str) -> None:
    """Write the pages below a folder, where the site's hook finds them."""
    for name, text in pages().items():
        path = Path(out) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])

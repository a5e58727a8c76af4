# SPDX-License-Identifier: Apache-2.0
"""From a parsed document to a checked value: every pydantic error becomes a diagnostic with a place and a help line."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from placement.diag import Diagnostic, InputError, Label

if TYPE_CHECKING:
    from pydantic import BaseModel

    from placement.spec.source import Document, KeyPath

    M = TypeVar("M", bound=BaseModel)


def validate(doc: Document, schema: type[M], path: KeyPath = ()) -> M:
    """The value at `path` of a document as `schema`. Raises InputError with one diagnostic for each error, by position."""
    import pydantic

    value = at(doc.tree, path)
    try:
        return schema.model_validate(value)
    except pydantic.ValidationError as error:
        found = [_translate(doc, schema, path, item) for item in error.errors(include_url=False)]
        raise InputError(_causes(found)) from None


def at(tree: Any, path: KeyPath) -> Any:
    """The value at a path that exists."""
    for step in path:
        tree = tree[step]
    return tree


def finding(
    doc: Document, path: KeyPath, name: str, message: str, *, help: str = "", label: str = "", **more: Any
) -> Diagnostic:
    """A diagnostic `<room>/<name>` at the value of `path`."""
    return Diagnostic(f"{doc.room}/{name}", message, primary=Label(doc.span(path), label), help=help, **more)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Help for an unknown word: the nearest known one, or the list of all if they are few."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, 1, 0.6) or [n for n in names if n.lower() == word.lower()][:1]
    if near:
        return f"did you mean `{near[0]}`?"
    return "known: " + ", ".join(f"`{n}`" for n in names) if 0 < len(names) <= 24 else ""


def _causes(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """One finding per cause: no doubles, and no missing key where an unknown one is the same word misspelt."""
    unique = {(d.name, d.message, str(d.primary and d.primary.span)): d for d in found}.values()
    meant = {d.help for d in unique if d.name.endswith("/unknown-key")}
    return [d for d in unique if not (d.name.endswith("/missing-key") and f"did you mean `{_missing(d)}`?" in meant)]


def _missing(diagnostic: Diagnostic) -> str:
    return diagnostic.message.rsplit("`", 2)[1]


def _sentence(about: str | None) -> str:
    """First sentence of a description, to stand after a comma."""
    text = (about or "").split(". ")[0].rstrip(".")
    return f", {text[0].lower() + text[1:] if text[1:2].islower() else text}" if text else ""


def _translate(doc: Document, schema: Any, base: KeyPath, error: Any) -> Diagnostic:
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown_key(doc, schema, base, error["loc"])
    if kind == "missing":
        return _missing_key(doc, schema, base, error["loc"])
    path = _real_path(doc, base, error["loc"])
    return _not_one_of(doc, path, error) if kind in ("literal_error", "enum") else _bad_value(doc, path, error)


def _bad_value(doc: Document, path: KeyPath, error: Any) -> Diagnostic:
    """A value of the wrong kind or out of range; `placement.spec.fields.problem` brings its own words."""
    kind, context = error["type"], error.get("ctx") or {}
    if "message" in context:
        message, help, label = context["message"], context.get("help", ""), context.get("label", "")
        return finding(doc, path, kind, message, help=help, label=label)
    if kind in ("model_type", "dict_type", "model_attributes_type", "mapping_type"):
        return finding(doc, path, "not-a-mapping", f"{_what(path)} must be a mapping of keys to values")
    if kind in ("list_type", "tuple_type"):
        return finding(doc, path, "not-a-list", f"{_what(path)} must be a list", help="start each item with `- `")
    if kind in _LIMITS:
        limit = next(iter(context.values()))
        text = f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"
        return finding(doc, path, "out-of-range", f"{_what(path)} must be {_LIMITS[kind]} {text}, found {at(doc.tree, path)}")
    if kind == "too_short":
        return finding(doc, path, "empty-list", f"{_what(path)} must not be empty")
    text = str(context["error"]) if kind == "value_error" else _plain(error["msg"])
    return finding(doc, path, "bad-value", f"{_what(path)}: {text}" if path else text)


_LIMITS = MappingProxyType({
    "greater_than": "above", "greater_than_equal": "at least", "less_than": "below", "less_than_equal": "at most",
})  # fmt: skip


def _plain(message: str) -> str:
    text = message.rstrip(".")
    return text[:1].lower() + text[1:]


def _what(path: KeyPath) -> str:
    names = [str(s) for s in path if isinstance(s, str)]
    return f"`{names[-1]}`" if names else "the file"


def _unknown_key(doc: Document, schema: Any, base: KeyPath, loc: tuple[Any, ...]) -> Diagnostic:
    parent = _real_path(doc, base, loc[:-1])
    key = str(loc[-1])
    models = _models_at(schema, loc[:-1])
    title = next((m.model_config.get("title") for m in models if m.model_config.get("title")), None)
    fields = {name for m in models for name in m.model_fields}
    label = Label(doc.key_span((*parent, key)), f"not a field of {title}" if title else "not known here")
    help = did_you_mean(key, fields - set(at(doc.tree, parent) or ()))
    return Diagnostic(f"{doc.room}/unknown-key", f"unknown key `{key}`", primary=label, help=help)


def _missing_key(doc: Document, schema: Any, base: KeyPath, loc: tuple[Any, ...]) -> Diagnostic:
    parent = _real_path(doc, base, loc[:-1])
    key = str(loc[-1])
    models = [m for m in _models_at(schema, loc[:-1]) if key in m.model_fields]
    title = models[0].model_config.get("title") if models else None
    about = models[0].model_fields[key].description if models else None
    message = f"{title or _what(parent)} has no `{key}`"
    help = f"add `{key}:`{_sentence(about)}"
    return Diagnostic(f"{doc.room}/missing-key", message, primary=Label(doc.key_span(parent), f"`{key}` is missing"), help=help)


def _not_one_of(doc: Document, path: KeyPath, error: Any) -> Diagnostic:
    import re

    allowed = re.findall(r"'([^']*)'", str((error.get("ctx") or {}).get("expected", "")))
    given = str(error.get("input"))[:40]
    guess = did_you_mean(given, allowed) if isinstance(error.get("input"), str) else ""
    help = guess if guess.startswith("did") else ""
    listed = ", ".join(f"`{a}`" for a in allowed)
    return finding(
        doc,
        path,
        "unknown-choice",
        f"`{given}` is not a choice of {_what(path)}",
        help=help,
        notes=(f"choices: {listed}",),
    )


def _real_path(doc: Document, base: KeyPath, loc: Iterable[Any]) -> KeyPath:
    """Path in the document for a pydantic location: tags of unions and validators in it have no counterpart there."""
    path, node = base, at(doc.tree, base)
    for step in loc:
        if (isinstance(node, dict) and step in node) or (isinstance(node, list) and isinstance(step, int) and step < len(node)):
            path, node = (*path, step), node[step]
    return path


def _models_at(annotation: Any, loc: Iterable[Any]) -> list[Any]:
    """Schemas that may stand at a location."""
    places = _leaves(annotation)
    for step in loc:
        inner = [leaf for place in places for leaf in _step_into(place, step)]
        places = inner or places  # a union's tag: stay
    return [p for p in places if hasattr(p, "model_fields")]


def _step_into(place: Any, step: Any) -> list[Any]:
    if hasattr(place, "model_fields"):
        return _leaves(place.model_fields[step].annotation) if step in place.model_fields else []
    origin, args = typing.get_origin(place), typing.get_args(place)
    if origin in (list, tuple) and isinstance(step, int):
        return _leaves(args[0])
    return _leaves(args[1]) if origin is dict and isinstance(step, str) else []


def _leaves(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, unions and Annotated unfolded."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _leaves(args[0])
    if origin in (typing.Union, types.UnionType):
        return [leaf for a in args for leaf in _leaves(a)]
    return [] if annotation is type(None) else [annotation]

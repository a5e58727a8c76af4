# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face configuration while it is read, and what most configuration classes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from placement.diag import Diagnostic, Label, Span

Facts = dict[str, Any]


@dataclass
class Config:
    """A configuration that is being read: collects what is missing, and remarks for the head comment."""

    tree: Mapping[str, Any]
    file: str
    nested: bool = False  # part of a multimodal configuration, which leaves out what its class has by default
    found: list[Diagnostic] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def need(self, *keys: str, default: int | None = None) -> int:
        """The whole number at the first of `keys` that is given; a finding if there is none.

        `default`: that of the configuration class, which only a nested configuration may leave out.
        """
        value = self.get(*keys)
        if value is None and self.nested:
            value = default
        if value is None:
            self.fail("config-missing", f"the configuration has no `{keys[0]}`", f"add `{keys[0]}`, a whole number")
        return value or 1

    def get(self, *keys: str) -> int | None:
        """The whole number at the first of `keys` that is given, or None."""
        for key in keys:
            value = self.tree.get(key)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
            if value is not None:
                self.fail("config-number", f"`{key}` is not a whole number: {str(value)[:40]}", "")
                return 1
        return None

    def each(self, key: str) -> int:
        """A number that may be given once for each layer or modality: that of the first, if the layers agree."""
        value = self.tree.get(key)
        if not isinstance(value, list) or not value:
            return self.need(key)
        if any(v != value[0] for v in value) or not isinstance(value[0], int):
            self.fail("config-layers", f"`{key}` differs from layer to layer", "write the model as `graph:`")
            return 1
        return value[0]

    def part(self, key: str) -> Config:
        """A mapping inside the configuration; it shares findings and remarks."""
        value = self.tree.get(key)
        return Config(value if isinstance(value, Mapping) else {}, self.file, self.nested, self.found, self.remarks)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.tree.get(key)
        return default if value is None else bool(value)

    def fail(self, name: str, message: str, advice: str) -> None:
        self.found.append(Diagnostic(f"model/{name}", message, primary=Label(Span(self.file)), help=advice))


def common(c: Config, tied: bool = False) -> Facts:
    """Fields that most configuration classes share. `tied`: whether the class ties its embeddings by default."""
    facts = {"layers": c.need("num_hidden_layers"), "hidden": c.need("hidden_size"), "heads": c.need("num_attention_heads")}
    if c.get("num_key_value_heads"):
        facts["kv_heads"] = c.need("num_key_value_heads")
    if c.get("head_dim"):
        facts["head_dim"] = c.need("head_dim")
    return facts | {"vocab": c.need("vocab_size"), "tied_embeddings": c.flag("tie_word_embeddings", default=tied)}


def windows(c: Config, full_every: int | None = None) -> Facts:
    """Which layers have a sliding window: as `layer_types` says, else all but every `full_every`-th, else all."""
    window, kinds = c.get("sliding_window"), c.tree.get("layer_types")
    if not window:
        return {}
    if not isinstance(kinds, list):
        return {"sliding_window": window, "full_attention_every": full_every}
    slides = [kind == "sliding_attention" for kind in kinds]
    if not any(slides):
        return {}
    if all(slides):
        return {"sliding_window": window}
    for n in range(2, len(slides) + 1):
        if slides == [(i + 1) % n != 0 for i in range(len(slides))]:
            return {"sliding_window": window, "full_attention_every": n}
        if slides == [i % n == 0 for i in range(len(slides))]:
            return {"sliding_window": window, "sliding_window_every": n}
    c.fail("config-layers", "`layer_types` have no period", "write the model as `graph:`")
    return {}

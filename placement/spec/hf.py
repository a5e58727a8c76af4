# SPDX-License-Identifier: Apache-2.0
"""`placement model import`: a Hugging Face `config.json` -> the text of a model file.

Field names are those of the configuration classes of transformers 4.57 (`LlamaConfig`, `MixtralConfig`, `Qwen3MoeConfig` ...).
What a configuration class fixes without a field (biases of Qwen2, query norms of Qwen3) is stated here with the class.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from placement.cost.flops import active_params, total_params
from placement.diag import Diagnostic, InputError, Label, Span
from placement.spec import hf_dense, hf_hybrid, hf_routed
from placement.spec.hf_config import Config, Facts
from placement.spec.model import lower_short

MAX_BYTES = 4 << 20  # real ones are a few kB


def import_config(path: str | Path, name: str = "") -> str:
    """Text of a model file for a Hugging Face `config.json`. Raises InputError with every finding."""
    file = Path(path)
    tree = _read(file)
    return model_text(tree, name or _name(tree, file), str(file))


def model_text(tree: Mapping[str, Any], name: str, file: str = "config.json") -> str:
    """Text of a model file for a parsed configuration. Raises InputError with every finding."""
    config = Config(_language(tree), file, nested=_language(tree) is not tree)
    if "vision_config" in tree:
        config.remarks.append("The vision tower of the configuration is not here: add it as `vision:`.")
    kind = str(config.tree.get("model_type", ""))
    if kind not in READERS:
        _unknown(config, kind)
        raise InputError(config.found)
    facts = READERS[kind](config)
    if config.found:
        raise InputError(config.found)
    return _text(facts, name, kind, config)


READERS: Mapping[str, Callable[[Config], Facts]] = MappingProxyType(
    {**hf_dense.READERS, **hf_routed.READERS, **hf_hybrid.READERS}
)
_MAMBA_1 = "the selective scan of Mamba-1 is not modelled"
BEYOND = MappingProxyType({  # types that are known, and known not to fit
    "mamba": _MAMBA_1, "falcon_mamba": _MAMBA_1, "jamba": _MAMBA_1, "zamba": _MAMBA_1, "rwkv": "its recurrence is not modelled",
    "recurrent_gemma": "its recurrence is not modelled", "falcon_h1": "mixers beside attention are not modelled",
    "gemma3n": "its alternating updates and embeddings of each layer are not modelled",
    "gemma3n_text": "its alternating updates and embeddings of each layer are not modelled",
    "step3_text": "its factorised attention is not modelled", "step3": "its factorised attention is not modelled",
    "mllama_text_model": "its attention to images is not modelled", "kimi_linear": "its delta attention is not modelled",
    "longcat_flash": "its experts without work are not modelled", "t5": "an encoder is not modelled",
    "bert": "an encoder is not modelled",
})  # fmt: skip


def _unknown(config: Config, kind: str) -> None:
    known = ", ".join(f"`{k}`" for k in sorted(READERS))
    if kind in BEYOND:
        message = f"model type `{kind}` cannot be imported: {BEYOND[kind]}"
        config.fail("config-type", message, "write the model as `graph:`, with the FLOPs and parameters of its parts")
        return
    message = f"model type `{kind[:40]}` cannot be imported" if kind else "the configuration has no `model_type`"
    config.fail("config-type", message, f"known: {known}; others can be written by hand as `transformer:`")


def _read(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _refuse(file, "no-such-file", "there is no such file") from None
    except OSError as error:
        raise _refuse(file, "unreadable-file", f"the file cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(data) > MAX_BYTES:
        raise _refuse(file, "file-too-large", f"the file is larger than {MAX_BYTES >> 20} MiB")
    try:
        tree = json.loads(data)
    except json.JSONDecodeError as error:
        message = f"not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise _refuse(file, "json-syntax", message, error.lineno, error.colno) from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise _refuse(file, "json-syntax", "not valid JSON: bad encoding, nesting or number") from None
    if not isinstance(tree, dict):
        raise _refuse(file, "not-a-mapping", "a configuration is a JSON object")
    return tree


def _refuse(file: Path, name: str, message: str, line: int = 1, column: int = 1) -> InputError:
    return InputError([Diagnostic(f"input/{name}", message, primary=Label(Span(str(file), line, column, column + 1)))])


def _name(tree: Mapping[str, Any], file: Path) -> str:
    """Last part of the name that the configuration gives itself, else its folder, else its file name."""
    given = str(tree.get("_name_or_path") or "").rstrip("/").rsplit("/", 1)[-1]
    folder = file.resolve().parent.name
    return (given or (folder if file.name == "config.json" else file.stem) or "model").lower()


def _language(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a multimodal configuration."""
    text = tree.get("text_config")
    return text if isinstance(text, Mapping) else tree


# --------------------------------------------------------------------------------------------------- text


def _text(facts: Facts, name: str, kind: str, config: Config) -> str:
    model = lower_short({key: value for key, value in facts.items() if value is not None}, name)
    count = f"# {total_params(model, mtp=False):,} parameters, {active_params(model, mtp=False):,} active for a token"
    modules = (
        f"; prediction modules have {model.num_params - total_params(model, mtp=False):,} more"
        if facts.get("mtp_layers")
        else ""
    )
    head = [
        f"# Imported from a Hugging Face configuration of type {kind}.",
        f"{count}{modules}.",
        *(f"# {remark}" for remark in config.remarks),
    ]
    body = [f"name: {_scalar(name)}", "", "transformer:", *_lines(facts, "  ")]
    job = ["", "# job:", "#   sequence_length: 4096", "#   global_batch: 1024", "#   precision: bf16", ""]
    return "\n".join([*head, *body, *job])


def _lines(facts: Facts, indent: str) -> list[str]:
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        elif value is not None and value != _DEFAULTS.get(key):
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return lines


_DEFAULTS = MappingProxyType({
    "tied_embeddings": False, "dense_first_layers": 0, "shared_experts": 0, "mtp_layers": 0, "biases": "none", "moe_every": 1,
    "qk_norm": False, "post_norms": False, "rotary": True,
})  # fmt: skip


def _scalar(value: Any) -> str:
    """A YAML scalar: plain where that is safe, else in double quotes (JSON strings are YAML)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text) and text.lower() not in ("null", "~") else json.dumps(text)

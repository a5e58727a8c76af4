# SPDX-License-Identifier: Apache-2.0
"""Small pieces of SVG, escaped; colours by class, so that a picture follows the page it stands in, or its own style sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

# Okabe and Ito (2008), "Color Universal Design": told apart by people with any common colour vision.
CATEGORIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b5a900", "#7f6bb3", "#999999")
# Viridis (van der Walt and Smith 2015), nine stops: rises evenly in lightness, so that it reads in grey too.
RAMP = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")

STYLE = """
svg.picture{color:#1b1f24;background:#fff;font:12px system-ui,"DejaVu Sans",sans-serif}
svg.picture text{fill:currentColor}
svg.picture .dim{opacity:.68}
svg.picture .strong{font-weight:600}
svg.picture .end{text-anchor:end}
svg.picture .mid{text-anchor:middle}
svg.picture .line{stroke:currentColor;stroke-width:1;fill:none}
svg.picture .grid{stroke:currentColor;stroke-width:1;fill:none;opacity:.16}
svg.picture .limit{stroke:#c4314b;stroke-width:2;stroke-dasharray:6 4;fill:none}
svg.picture .kept{stroke:#c4314b;stroke-width:2;stroke-dasharray:1.5 3;fill:none}
svg.picture .edge{stroke:#fff;stroke-width:.6}
svg.picture .hatch{fill:url(#hatch)}
svg.picture .ink{fill:currentColor;opacity:.5}
svg.picture .flow{fill-opacity:.55}
svg.picture .chosen{fill:none;stroke:currentColor;stroke-width:3}
svg.picture text.on-light{fill:#000}
svg.picture text.small{font-size:10px}
svg.picture text.on-dark{fill:#fff}
svg.picture .weave{stroke:#000;stroke-width:1.6;opacity:.45}
svg.picture .weave-blank{stroke:currentColor;stroke-width:1;opacity:.5}
svg.picture .blank{fill:url(#blank)}
"""
DARK = """
svg.picture{color:#e6e9ee;background:#14171c}
svg.picture .edge{stroke:#14171c}
svg.picture .limit,svg.picture .kept{stroke:#ff7b8e}
svg.picture .flow{fill-opacity:.75}
"""
_HATCH = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M0 0V6" class="weave"/></pattern>'
    '<pattern id="blank" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M0 0V6" class="weave-blank"/></pattern></defs>'
)


def colour(i: int, count: int) -> str:
    """Colour of category `i` of `count`: nine named ones, beyond that steps of the ramp in turn light and dark."""
    if count <= len(CATEGORIES):
        return CATEGORIES[i % len(CATEGORIES)]
    return ramp(0.12 + 0.88 * (i // 2 + (i % 2) * ((count + 1) // 2)) / max(count - 1, 1))


def ramp(share: float) -> str:
    """Colour of a share 0..1 on the ramp."""
    at = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    low = min(int(at), len(RAMP) - 2)
    mixed = (
        round(int(RAMP[low][i : i + 2], 16) * (1 - at + low) + int(RAMP[low + 1][i : i + 2], 16) * (at - low))
        for i in (1, 3, 5)
    )
    return "#" + "".join(f"{c:02x}" for c in mixed)


def num(x: float) -> str:
    """A coordinate: two decimals, no trailing zeros."""
    return f"{x:.2f}".rstrip("0").rstrip(".") or "0"


def rect(x: float, y: float, w: float, h: float, fill: str = "", cls: str = "", title: str = "") -> str:
    given = (f' fill="{fill}"' if fill else "") + (f' class="{cls}"' if cls else "")
    head = f'<rect x="{num(x)}" y="{num(y)}" width="{num(max(w, 0.0))}" height="{num(h)}"{given}'
    return f"{head}><title>{escape(title)}</title></rect>" if title else f"{head}/>"


def text(x: float, y: float, content: str, cls: str = "") -> str:
    given = f' class="{cls}"' if cls else ""
    return f'<text x="{num(x)}" y="{num(y)}"{given}>{escape(content)}</text>'


def path(d: str, fill: str = "", cls: str = "", title: str = "") -> str:
    given = (f' fill="{fill}"' if fill else "") + (f' class="{cls}"' if cls else "")
    return f'<path d="{d}"{given}><title>{escape(title)}</title></path>' if title else f'<path d="{d}"{given}/>'


def line(x: float, y: float, x2: float, y2: float, cls: str = "line") -> str:
    return path(f"M{num(x)} {num(y)}L{num(x2)} {num(y2)}", "", cls)


def picture(width: float, height: float, label: str, body: Iterable[str]) -> str:
    """A whole picture with its title for those who do not see it."""
    size = f'viewBox="0 0 {num(width)} {num(height)}" width="{num(width)}" height="{num(height)}"'
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" role="img" {size} aria-label="{escape(label, quote=True)}">'
    )
    return "".join([start, f"<title>{escape(label)}</title>", _HATCH, *body, "</svg>"])


def standalone(drawn: str) -> str:
    """A picture as a file of its own, light or dark as its viewer asks."""
    style = f"<style>{STYLE}@media(prefers-color-scheme:dark){{{DARK}}}</style>"
    return drawn.replace("<defs>", f"{style}<defs>", 1) + "\n"


def legend(x: float, y: float, items: Sequence[tuple[str, str]], patterns: Sequence[str] = ()) -> list[str]:
    """Names beside squares of their colours, on one line; `patterns` are classes of those that carry one."""
    out: list[str] = []
    for i, (name, fill) in enumerate(items):
        out.append(rect(x, y - 10, 12, 12, fill))
        if i < len(patterns) and patterns[i]:
            out.append(rect(x, y - 10, 12, 12, "", patterns[i]))
        out.append(text(x + 17, y, name))
        x += 17 + 7.2 * len(name) + 16
    return out

"""The risk–coverage curves as a picture: one SVG file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..files import write_text
from .confidence import KindScore

_WIDTH, _LEFT, _RIGHT, _TOP, _PLOT, _BELOW, _ROW = 720, 58, 30, 44, 300, 54, 22
_FIRST = 0.03
"""Below this share of the answers a curve is a handful of texts: it starts here."""
_FEW = 10


def write_curves(path: Path, kinds: Sequence[KindScore]) -> None:
    """Draw the curves of all kinds into an SVG file."""
    write_text(path, draw(kinds))


def draw(kinds: Sequence[KindScore]) -> str:
    """RETURNS (str): The picture. Every name is escaped."""
    curves = [_shown(kind) for kind in kinds]
    highest = max(risk for curve in curves for _, risk in curve)
    step = next(size for size in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if highest / size <= 6 or size == 0.2)
    ticks = max(1, int(-(-highest // step)))
    bottom = _TOP + _PLOT

    def x(coverage: float) -> float:
        return round(_LEFT + coverage * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(risk: float) -> float:
        return round(bottom - risk / (ticks * step) * _PLOT, 1)

    environment = Environment(
        loader=PackageLoader("spacy_distill.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows: list[dict[str, Any]] = [
        {
            "name": kind.name,
            "kind": kind.kind,
            "aurc": f"{100 * kind.aurc.value:.1f} %",
            "points": " ".join(f"{x(coverage)},{y(risk)}" for coverage, risk in curve),
            "y": bottom + _BELOW + 22 + _ROW * i,
        }
        for i, (kind, curve) in enumerate(zip(kinds, curves, strict=True))
    ]
    return environment.get_template("confidence_curves.svg.jinja").render(
        width=_WIDTH,
        height=bottom + _BELOW + 22 + _ROW * len(rows) + 8,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        top=_TOP,
        bottom=bottom,
        rows=rows,
        x_ticks=[(x(share / 100), f"{share} %") for share in range(0, 101, 20)],
        y_ticks=[(y(i * step), f"{100 * i * step:g} %") for i in range(ticks + 1)],
    )


def _shown(kind: KindScore) -> list[tuple[float, float]]:
    """RETURNS (List[Tuple[float, float]]): The curve from where it means something; flat up to its first point if that
    is many answers with the same confidence."""
    start = max(_FIRST, _FEW / kind.answers)
    points = list(kind.curve)
    if points[0][0] >= start:
        return [(0.0, points[0][1]), *points]
    return [point for point in points if point[0] >= start] or points[-1:]

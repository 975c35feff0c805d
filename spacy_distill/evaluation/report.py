"""The evaluation for people: one HTML file that needs nothing else, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console
from rich.table import Table

from ..files import write_text
from .comparison import Interval
from .evaluate import Evaluation, Result
from .examples import Example
from .verdict import METRIC_NAMES, points

MATRIX_LABELS = 20  # more than that and a matrix is unreadable: the report lists the largest confusions instead
TEXT_LENGTH = 600
_WIDTH, _ROW, _LEFT, _RIGHT = 640, 34, 110, 24  # of the interval plots, in SVG units


def write_report(path: Path, evaluation: Evaluation, examples: Sequence[tuple[str, Sequence[Example]]] = ()) -> None:
    """Write the HTML report.

    examples (Sequence[Tuple[str, Sequence[Example]]]): From `disagreements`. They show gold texts: leave them out
        where the report goes to people who may not read those.
    """
    write_text(path, render(evaluation, examples))


def render(evaluation: Evaluation, examples: Sequence[tuple[str, Sequence[Example]]] = ()) -> str:
    """RETURNS (str): The report as one HTML page. Every text and label is escaped."""
    environment = Environment(
        loader=PackageLoader("spacy_distill.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(points=points, figure=figure, speed=speed, shorten=_shorten)
    metrics = shown_metrics(evaluation)
    return environment.get_template("report.html.jinja").render(
        evaluation=evaluation,
        series={result.name: i for i, result in enumerate(evaluation.results)},
        metrics=metrics,
        metric_names=METRIC_NAMES,
        examples=examples,
        score_plot=_plot([(r.name, r.scores[evaluation.main]) for r in evaluation.results], zero=False),
        difference_plot=_plot(
            [
                (f"{METRIC_NAMES[name]} vs {d.other}", d.metrics[name])
                for d in evaluation.differences
                for name in metrics
            ],
            zero=True,
        ),
        matrices=[
            (r, _shades(r)) for r in evaluation.results if r.confusion and len(evaluation.labels) <= MATRIX_LABELS
        ],
        confusions=[(r, _largest(evaluation, r)) for r in evaluation.results if r.confusion],
    )


def shown_metrics(evaluation: Evaluation) -> list[str]:
    """RETURNS (List[str]): The metrics that tables show, the deciding one first."""
    if evaluation.main == "accuracy":
        return ["accuracy", "macro_f1"]
    return ["micro_f1", "macro_f1", "precision", "recall"] + ([] if evaluation.task == "ner" else ["accuracy"])


def figure(value: float | None, digits: int = 0) -> str:
    """RETURNS (str): A number with thousands set apart; "–" where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def speed(words_per_s: float | None) -> str:
    """RETURNS (str): Words a second to two significant digits: the next run will not have the third."""
    rounded = None if words_per_s is None else float(f"{words_per_s:.2g}")
    return figure(rounded, 1 if rounded and rounded < 10 else 0)


def _shorten(text: str, length: int = TEXT_LENGTH) -> str:
    return text if len(text) <= length else text[:length].rstrip() + " …"


def _plot(rows: Sequence[tuple[str, Interval]], *, zero: bool) -> dict[str, Any] | None:
    """Lay out intervals on one scale, in SVG units."""
    if not rows:
        return None
    low = min(item.low for _, item in rows)
    high = max(item.high for _, item in rows)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 8 or s == 0.5)
    first, last = int(low // step), int(-(-high // step))
    last = max(last, first + 1)
    left, right = _LEFT + (60 if zero else 0), _WIDTH - _RIGHT

    def x(value: float) -> float:
        return round(left + (value / step - first) / (last - first) * (right - left), 1)

    return {
        "width": _WIDTH,
        "height": _ROW * len(rows) + 34,
        "bottom": _ROW * len(rows) + 8,
        "ticks": [(x(i * step), points(i * step, zero).removesuffix(".0")) for i in range(first, last + 1)],
        "zero": x(0.0) if zero else None,
        "rows": [
            {"name": name, "y": _ROW * i + 24, "low": x(v.low), "value": x(v.value), "high": x(v.high), "interval": v}
            for i, (name, v) in enumerate(rows)
        ],
    }


def _shades(result: Result) -> list[list[tuple[int, int]]]:
    """RETURNS (List[List[Tuple[int, int]]]): Each count with its share of its row in per cent; the column "no answer"
    only where there are such."""
    rows = result.confusion or ()
    end = None if any(row[-1] for row in rows) else -1
    return [[(n, round(100 * n / max(1, sum(row)))) for n in row[:end]] for row in rows]


def _largest(evaluation: Evaluation, result: Result, limit: int = 20) -> list[tuple[int, str, str]]:
    columns = (*evaluation.labels, "no answer")
    found = [
        (n, evaluation.labels[i], columns[j])
        for i, row in enumerate(result.confusion or ())
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(found, key=lambda item: (-item[0], item[1], item[2]))[:limit]


def print_table(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print the comparison and the verdict: a table in a terminal, plain lines elsewhere."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=160, no_color=True, highlight=False)
    metrics = shown_metrics(evaluation)
    table = Table(box=None if not console.is_terminal else Table().box, header_style="bold")
    for name in ("", *(f"{METRIC_NAMES[metric]} (95 %)" for metric in metrics)):
        table.add_column(name)
    for name in ("words/s, warm", "MB", "labels used", "answered"):
        table.add_column(name, justify="right")
    for result in evaluation.results:
        cells = [_cell(result.scores[metric]) for metric in metrics]
        table.add_row(
            result.name,
            *cells,
            speed(result.words_per_s),
            figure(result.size_mb, 1),
            f"{100 * result.label_coverage:.0f} %",
            f"{100 * result.scores['answered'].value:.0f} %",
        )
    console.print(table, soft_wrap=False)
    for sentence in evaluation.verdict:
        console.print(sentence, markup=False, soft_wrap=True)


def _cell(found: Interval) -> str:
    return f"{points(found.value)} ({points(found.low)}–{points(found.high)})"

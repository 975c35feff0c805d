"""From single measurements to rows: means over seeds, the raced student, what it is against the best peer."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

FIGURES = {
    "accuracy": 4, "macro_f1": 4, "words_per_s_warm": 0, "words_per_s_fresh": 0, "share_of_tokenizer": 3,
    "share_of_tokenizer_fresh": 3, "train_s": 1, "mb": 2, "rss_mb": 0,
}  # fmt: skip
"""Each figure of a row, and its decimals."""
RACED, RACED_REVIEWED = "raced", "raced_reviewed"


def rows_of(found: Iterable[dict[str, Any]], ours: Sequence[str]) -> list[dict[str, Any]]:
    """Put the seeds of one system, data set, kind of labels and size together.

    ours (Sequence[str]): The systems that are raced.
    RETURNS (List[Dict[str, Any]]): Means of `FIGURES`, `accuracy_by_seed`, `seeds`; for raced ones `chosen` by seed.
    """
    found = [result for result in found if "failed" not in result]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    candidates = [result for result in found if result["system"] in ours]
    reviewed = [r for r in candidates if r["labels"] != "gold" and r.get("dev_reviewed") is not None]
    raced = [*_raced(candidates, RACED, "dev"), *_raced(reviewed, RACED_REVIEWED, "dev_reviewed")]
    for result in [*found, *raced]:
        groups[tuple(result[name] for name in ("data", "labels", "size", "system"))].append(result)
    rows = []
    for (data, labels, size, system), results in sorted(groups.items(), key=lambda item: item[0][:3]):
        row: dict[str, Any] = {"system": system, "data": data, "labels": labels, "size": size}
        for name, digits in FIGURES.items():
            row[name] = round(statistics.mean(result[name] for result in results), digits)
        row["accuracy_by_seed"] = [round(result["accuracy"], 4) for result in results]
        row["seeds"] = [result["seed"] for result in results]
        if system in (RACED, RACED_REVIEWED):
            row["chosen"] = [result["chosen"] for result in results]
        rows.append(row)
    return rows


def _raced(ours: Sequence[dict[str, Any]], name: str, by: str) -> list[dict[str, Any]]:
    """RETURNS (List[Dict[str, Any]]): For each sample, the measurement of the best on dev; of equals, the faster."""
    samples: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for result in ours:
        samples[tuple(result[name] for name in ("data", "labels", "size", "seed"))].append(result)
    best = [max(results, key=lambda r: (r[by], r["words_per_s_warm"])) for results in samples.values()]
    return [{**result, "system": name, "chosen": result["system"]} for result in best]


def summary(rows: Sequence[dict[str, Any]], peers: Sequence[str]) -> dict[str, Any]:
    """Compare the raced student with the peers that were measured wherever it was.

    RETURNS (Dict[str, Any]): `cells`, each with the best peer and the difference in accuracy; the `worst` difference;
        `mean_accuracy` of each system that has all cells.
    """
    by_cell: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        by_cell[(row["data"], row["labels"], row["size"])][row["system"]] = row
    cells = []
    for (data, labels, size), systems in by_cell.items():
        there = [systems[name] for name in peers if name in systems]
        if RACED in systems and there:
            best = max(there, key=lambda row: row["accuracy"])
            difference = round(systems[RACED]["accuracy"] - best["accuracy"], 4)
            cells.append(
                {"data": data, "labels": labels, "size": size, "best_peer": best["system"], "difference": difference}
            )
    names = dict.fromkeys(row["system"] for row in rows)
    everywhere = [name for name in names if all(name in systems for systems in by_cell.values())]
    means = {name: round(statistics.mean(s[name]["accuracy"] for s in by_cell.values()), 4) for name in everywhere}
    return {
        "cells": cells,
        "worst": min((cell["difference"] for cell in cells), default=None),
        "mean_accuracy": dict(sorted(means.items(), key=lambda item: -item[1])),
    }


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print a table for each data set, kind of labels and size, the most accurate first."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=150)
    for cell in dict.fromkeys((row["data"], row["labels"], row["size"]) for row in rows):
        table = Table(title=f"{cell[0]}, {cell[2]} texts, labels: {cell[1]}", title_justify="left")
        table.add_column("system")
        for name in (
            "accuracy",
            "macro F1",
            "words/s warm",
            "of tokenizer",
            "fresh",
            "of tokenizer",
            "train s",
            "MB",
            "memory MB",
        ):
            table.add_column(name, justify="right")
        here = [row for row in rows if (row["data"], row["labels"], row["size"]) == cell]
        for row in sorted(here, key=lambda row: -row["accuracy"]):
            chosen = f" ({', '.join(dict.fromkeys(row['chosen']))})" if "chosen" in row else ""
            table.add_row(
                row["system"] + chosen,
                f"{100 * row['accuracy']:.1f}",
                f"{100 * row['macro_f1']:.1f}",
                f"{row['words_per_s_warm']:,.0f}",
                f"{row['share_of_tokenizer']:.0%}",
                f"{row['words_per_s_fresh']:,.0f}",
                f"{row['share_of_tokenizer_fresh']:.0%}",
                f"{row['train_s']:.1f}",
                f"{row['mb']:.1f}",
                f"{row['rss_mb']:.0f}",
            )
        console.print(table)

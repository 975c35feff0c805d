"""From single measurements to rows and tables: means over seeds, the raced student, the best peer."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

FIGURES = {
    "accuracy": 4, "macro_f1": 4, "words_per_s_warm": 0, "words_per_s_fresh": 0, "share_of_tokenizer": 3,
    "share_of_tokenizer_fresh": 3, "train_s": 1, "mb": 2, "rss_mb": 0,
}  # fmt: skip
"""Each figure of a row, and its decimals."""
PEER_MEANS = ("accuracy", "raced")
RACED, RACED_REVIEWED = "raced", "raced_reviewed"
DATA_NAMES = {
    "emotion": "six emotions",
    "banking77": "77 banking intents",
    "sms_spam_llm": "SMS spam",
    "babe_bias": "biased news",
}


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
    order = list(DATA_NAMES)
    for (data, labels, size, system), results in sorted(
        groups.items(), key=lambda item: (item[0][1], order.index(item[0][0]), item[0][2])
    ):
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
    """RETURNS (List[Dict[str, Any]]): For each sample, the measurement of the best on dev; of equals, the faster. Seeds
    for which a system is missing that others of the cell have are left out: that would be another race."""
    cells: dict[tuple[Any, ...], dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for result in ours:
        cells[result["data"], result["labels"], result["size"]][result["seed"]].append(result)
    best = []
    for seeds in cells.values():
        entered = {result["system"] for results in seeds.values() for result in results}
        best += [
            max(results, key=lambda r: (r[by], r["words_per_s_warm"]))
            for results in seeds.values()
            if {result["system"] for result in results} == entered
        ]
    return [{**result, "system": name, "chosen": result["system"]} for result in best]


def summary(rows: Sequence[dict[str, Any]], peers: Collection[str]) -> dict[str, Any]:
    """Compare the raced student with the peers that were measured wherever it was.

    RETURNS (Dict[str, Any]): `cells`, each with the best peer and the difference in accuracy, the mean over the seeds
        that both have and seed by seed; the `worst` difference; `mean_accuracy` of each system that has all cells;
        `peers`, for each the number of cells that raced has too, and both means over these and the seeds of both.
    """
    by_cell: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        by_cell[(row["data"], row["labels"], row["size"])][row["system"]] = row
    cells = []
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (data, labels, size), systems in by_cell.items():
        if RACED not in systems:
            continue
        there = {name: _paired(systems[name], systems[RACED]) for name in peers if name in systems}
        there = {name: both for name, both in there.items() if both}
        for name, both in there.items():
            pairs[name].append((_mean(theirs for theirs, _ in both), _mean(ours for _, ours in both)))
        if there:
            best = max((systems[name] for name in there), key=lambda row: row["accuracy"])
            differences = [ours - theirs for theirs, ours in there[best["system"]]]
            cells.append(
                {
                    "data": data,
                    "labels": labels,
                    "size": size,
                    "best_peer": best["system"],
                    "difference": round(statistics.mean(differences), 4),
                    "by_seed": [round(difference, 4) for difference in differences],
                }
            )
    names = dict.fromkeys(row["system"] for row in rows)
    everywhere = [name for name in names if all(name in systems for systems in by_cell.values())]
    means = {name: round(statistics.mean(s[name]["accuracy"] for s in by_cell.values()), 4) for name in everywhere}
    return {
        "cells": cells,
        "worst": min((cell["difference"] for cell in cells), default=None),
        "mean_accuracy": dict(sorted(means.items(), key=lambda item: -item[1])),
        "peers": {
            name: {
                "cells": len(found),
                "accuracy": round(_mean(theirs for theirs, _ in found), 4),
                "raced": round(_mean(ours for _, ours in found), 4),
            }
            for name, found in pairs.items()
        },
    }


def _paired(peer: Mapping[str, Any], raced: Mapping[str, Any]) -> list[tuple[float, float]]:
    """RETURNS (List[Tuple[float, float]]): Both accuracies, for each seed that both have."""
    theirs, ours = (dict(zip(row["seeds"], row["accuracy_by_seed"], strict=True)) for row in (peer, raced))
    return [(theirs[seed], ours[seed]) for seed in ours if seed in theirs]


def _mean(values: Iterable[float]) -> float:
    return statistics.mean(values)


def markdown(
    rows: Sequence[dict[str, Any]], teachers: Sequence[dict[str, Any]], ours: Sequence[str], peers: Mapping[str, str]
) -> str:
    """Accuracies in percent, one table for each kind of labels.

    ours (Sequence[str]): The systems that are raced; those that were measured have a column, the smallest first.
    peers (Mapping[str, str]): Their names in the table.
    RETURNS (str): In Markdown. An asterisk marks means over fewer seeds than others have. The last line has means over
        the cells, the peer's of the best ones, whichever they are; then each peer beside raced where both are.
    """
    kinds = dict.fromkeys(row["labels"] for row in rows)
    tables = [
        _markdown_table(
            [row for row in rows if row["labels"] == kind],
            {one["data"]: one for one in teachers if one["labels"] == kind},
            ours,
            peers,
        )
        for kind in kinds
    ]
    return "\n\n".join(tables)


def _markdown_table(
    rows: Sequence[dict[str, Any]], teachers: Mapping[str, Any], ours: Sequence[str], peers: Mapping[str, str]
) -> str:
    found = summary(rows, peers)
    by_place = {(row["data"], row["size"], row["system"]): row for row in rows}
    sizes = {row["system"]: row["mb"] for row in rows}
    columns = [*sorted(sizes.keys() & set(ours), key=lambda name: (float(f"{sizes[name]:.0g}"), name))]
    columns += [name for name in (RACED, RACED_REVIEWED) if name in sizes]
    seeds = max(len(row["seeds"]) for row in rows)
    titles = {RACED: "raced on dev", RACED_REVIEWED: "on reviewed dev"}
    head = [f"texts, {rows[0]['labels']} labels", "best peer", *(titles.get(name, f"`{name}`") for name in columns)]
    lines = [[*head, "raced − peer"]]
    for cell in found["cells"]:
        data, size, peer = cell["data"], cell["size"], cell["best_peer"]
        line = [f"{DATA_NAMES[data]}: {size:,}", f"{_percent(by_place[data, size, peer], seeds)} ({peers[peer]})"]
        line += [_percent(by_place.get((data, size, name)), seeds) for name in columns]
        bounds = " to ".join(_signed(bound) for bound in (min(cell["by_seed"]), max(cell["by_seed"])))
        lines.append([*line, _signed(cell["difference"]) + (f" ({bounds})" if len(cell["by_seed"]) > 1 else "")])
        if data in teachers:
            tested = teachers[data].get("test_accuracy")
            lines[-1].insert(1, f"{100 * tested:.1f}" if tested else f"({100 * teachers[data]['pool_accuracy']:.1f})")
    means = found["mean_accuracy"]
    if len(found["cells"]) > 1:
        highest = [by_place[cell["data"], cell["size"], cell["best_peer"]]["accuracy"] for cell in found["cells"]]
        last = ["mean", f"{100 * statistics.mean(highest):.1f}"]
        last += [f"{100 * means[name]:.1f}" if name in means else "–" for name in columns]
        lines.append([*last, _signed(statistics.mean(cell["difference"] for cell in found["cells"]))])
        if teachers:
            lines[-1].insert(1, "")
    if teachers:
        lines[0].insert(1, "teacher")
    if len(found["cells"]) < 2:
        return table(lines)
    each = sorted(found["peers"].items(), key=lambda item: item[1]["raced"] - item[1]["accuracy"])
    beside = [[peers[name], str(one["cells"]), *(f"{100 * one[key]:.1f}" for key in PEER_MEANS)] for name, one in each]
    return table(lines) + "\n\n" + table([["peer", "rows", "mean", "raced there"], *beside])


def table(lines: Sequence[Sequence[str]]) -> str:
    """RETURNS (str): A table in Markdown; its head is the first line."""
    head, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|---" * len(lines[0]) + "|", *rest])


def _percent(row: dict[str, Any] | None, seeds: int) -> str:
    """RETURNS (str): A row's accuracy, and of a raced one what was chosen, how often."""
    if row is None:
        return "–"
    fewer = "\\*" if len(row["seeds"]) < seeds else ""
    counts = Counter(row.get("chosen", ())).most_common()
    chosen = ", ".join(name if len(counts) == 1 else f"{count} {name}" for name, count in counts)
    return f"{100 * row['accuracy']:.1f}{fewer}" + (f" ({chosen})" if chosen else "")


def _signed(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", "−")


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print a table for each data set, kind of labels and size, the most accurate first."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=150)
    for cell in dict.fromkeys((row["data"], row["labels"], row["size"]) for row in rows):
        shown = Table(title=f"{cell[0]}, {cell[2]} texts, labels: {cell[1]}", title_justify="left")
        shown.add_column("system")
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
            shown.add_column(name, justify="right")
        here = [row for row in rows if (row["data"], row["labels"], row["size"]) == cell]
        for row in sorted(here, key=lambda row: -row["accuracy"]):
            chosen = f" ({', '.join(dict.fromkeys(row['chosen']))})" if "chosen" in row else ""
            shown.add_row(
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
        console.print(shown)

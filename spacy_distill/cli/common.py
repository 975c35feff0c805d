"""What several commands share: the console, a progress bar for people, tables of what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from spacy.language import Language

    from ..annotate import Summary

SHOWN_LABELS = 15

# No markup: labels, paths and texts may hold square brackets.
console = Console(highlight=False, soft_wrap=True, markup=False)
if not console.is_terminal:  # a file or a pipe has no width: leave tables room
    console = Console(highlight=False, soft_wrap=True, markup=False, width=120)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left on a terminal; elsewhere a plain line for every tenth of the work.

    label (str): What is being done.
    total (Optional[int]): How many steps there are.
    YIELDS (Callable[[int], None]): Call it with the number of steps done since the last call.
    """
    if console.is_terminal:
        from rich import progress as rich

        columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn())
        times = (rich.TimeElapsedColumn(), rich.TextColumn("left"), rich.TimeRemainingColumn())
        with rich.Progress(*columns, *times, console=console) as bar:
            task = bar.add_task(label, total=total)
            yield lambda steps: bar.advance(task, steps)
        return
    done = reported = 0
    step = max(1, (total or 0) // 10)

    def advance(steps: int) -> None:
        nonlocal done, reported
        done += steps
        if done - reported >= step or done == total:
            reported = done
            console.print(f"{label}: {done}{f' of {total}' if total else ''}")

    yield advance


def blank(lang: str) -> Language:
    """RETURNS (Language): A tokenizer and nothing else. RAISES (ConfigError): spaCy has none for this language."""
    import spacy

    from ..errors import ConfigError

    try:
        return spacy.blank(lang)
    except ImportError as error:
        raise ConfigError(f"--lang {lang!r}: {error}") from error


def print_summary(summary: Summary) -> None:
    """Print what a run of annotation did: statuses and labels of each task, replies, tokens, cost."""
    for task, statuses in summary.statuses.items():
        table = Table(title=f"{task}: {summary.texts} texts", title_justify="left")
        table.add_column("status")
        table.add_column("texts", justify="right")
        table.add_column("label")
        table.add_column("entities" if task == "ner" else "texts", justify="right")
        left = [(name, str(count)) for name, count in statuses.items()]
        right = [(name, str(count)) for name, count in summary.labels.get(task, {}).items()]
        if len(right) > SHOWN_LABELS:
            right[SHOWN_LABELS:] = [(f"… {len(right) - SHOWN_LABELS} more", "")]
        for status, label in zip_longest(left, right, fillvalue=("", "")):
            table.add_row(*status, *label)
        console.print(table)
    spent = f", {summary.prompt_tokens:,} + {summary.reply_tokens:,} tokens" if summary.prompt_tokens else ""
    cost = f", {summary.cost_usd:.4f} USD" if summary.cost_usd else ""
    console.print(
        f"{summary.asked} replies asked for in {summary.elapsed_s:.1f} s{spent}{cost};"
        f" {summary.from_ledger} were in the ledger."
    )
    failed = max((statuses.get("error", 0) for statuses in summary.statuses.values()), default=0)
    if failed:
        console.print(f"{failed} texts got no reply. Run this command again: it asks for those alone.")
    if summary.unaligned:
        console.print(
            f"{summary.unaligned} quotes do not stand in their text, or not on its tokens: kept apart, counted."
        )

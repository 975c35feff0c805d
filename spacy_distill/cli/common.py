"""What several commands share: the console, a progress bar for people, tables of what happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.table import Table

from ..errors import ConfigError, InputError, counted

if TYPE_CHECKING:
    from pathlib import Path

    from spacy.language import Language

    from ..books import Books
    from ..types import Text

SHOWN_LABELS = 15
SHOWN_FAILURES = 3
SHOWN_UNKNOWN = 5
SHOWN_REASONS = 20

REMEDIES = (
    ("budget of", "give a larger one, or lower `max_tokens`: each request sets that many aside"),
    ("HTTP 429", "the server wants fewer requests; lower max_in_flight"),
    ("no whole response within", "the server is slow; raise timeout_s, or lower max_in_flight"),
    ("HTTP 400", "the server refuses these texts; a server of your own says why in its log"),
    ("HTTP 413", "these texts are too long for the model"),
    ("HTTP 5", "the server had trouble"),
    ("no connection", "the server went away"),
    ("no reply recorded", "add what is missing to that file"),
)
"""What stands in a failure's reason, and what to do about it."""

UNALIGNED = {
    "not_found": "not in their text",
    "boundary": "not on its tokens",
    "outside": "outside their text",
    "unknown_label": "unknown label",
    "two_labels": "two labels for one place",
    "overlap": "reaching into a longer one",
}
"""Why quotes and spans mark nothing."""

NO_GOLD = "No --gold was given: nothing keeps the texts you evaluate on out of the training data."

# No markup: labels, paths and texts may hold square brackets.
console = Console(highlight=False, soft_wrap=True, markup=False)
if not console.is_terminal:  # a file or a pipe has no width: leave tables room
    console = Console(highlight=False, soft_wrap=True, markup=False, width=120)


class Advance(Protocol):
    """Tells a progress bar how far the work is."""

    def __call__(self, steps: int, note: str = "") -> None:
        """Go on by so many steps; the note stands beside the bar."""


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Advance]:
    """A bar with rate and time left on a terminal; elsewhere a plain line for every tenth of the work.

    label (str): What is being done.
    total (Optional[int]): How many steps there are.
    YIELDS (Advance): Call it with the number of steps done since the last call.
    """
    if console.is_terminal:
        from rich import progress as rich

        columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn())
        times = (rich.TimeElapsedColumn(), rich.TextColumn("left"), rich.TimeRemainingColumn())
        with rich.Progress(*columns, *times, rich.TextColumn("{task.fields[note]}"), console=console) as bar:
            task = bar.add_task(label, total=total, note="")

            def move(steps: int, note: str = "") -> None:
                bar.update(task, advance=steps, note=note)

            yield move
        return
    done = reported = 0
    step = max(1, (total or 0) // 10)

    def advance(steps: int, note: str = "") -> None:
        nonlocal done, reported
        done += steps
        if done - reported >= step or done == total:
            reported = done
            console.print(f"{label}: {done}{f' of {total}' if total else ''}{f', {note}' if note else ''}")

    yield advance


def blank(lang: str) -> Language:
    """RETURNS (Language): A tokenizer and nothing else. RAISES (ConfigError): spaCy has none for this language."""
    import spacy

    from ..errors import ConfigError

    try:
        return spacy.blank(lang)
    except ImportError as error:
        raise ConfigError(f"--lang {lang!r}: {error}") from error


def print_books(books: Books, *, imported: bool = False) -> None:
    """Print what a run of annotation did: statuses and labels of each task, replies, tokens, cost, failures.

    imported (bool): The replies were made elsewhere: nothing was asked for.
    """
    for task, statuses in books.statuses.items():
        table = Table(title=f"{task}: {counted(books.texts, 'text')}", title_justify="left")
        table.add_column("status")
        table.add_column("texts", justify="right")
        table.add_column("label")
        table.add_column("entities" if task == "ner" else "texts", justify="right")
        left = [(name, str(count)) for name, count in statuses.most_common()]
        right = [(name, str(count)) for name, count in books.labels[task].most_common()]
        if len(right) > SHOWN_LABELS:
            right[SHOWN_LABELS:] = [(f"… {len(right) - SHOWN_LABELS} more", "")]
        for status, label in zip_longest(left, right, fillvalue=("", "")):
            table.add_row(*status, *label)
        console.print(table)
        if unknown := books.unknown[task]:
            shown = [f"{name!r} ({count})" for name, count in unknown.most_common(SHOWN_UNKNOWN)]
            more = len(unknown) - len(shown)
            console.print(f"Not among the labels: {', '.join(shown)}{f' and {more} more' if more else ''}.")
    tokens = books.prompt_tokens + books.reply_tokens
    speed = f" ({tokens / books.elapsed_s:,.0f} tokens a second)" if tokens and books.elapsed_s else ""
    spent = f", {books.prompt_tokens:,} + {books.reply_tokens:,} tokens{speed}" if tokens else ""
    if imported:
        console.print(f"{counted(books.texts, 'record')} read in {books.elapsed_s:.1f} s.")
    else:
        asked = f"{books.asked} replies asked for in {books.elapsed_s:.1f} s{spent}"
        console.print(f"{asked}; {books.from_ledger} were in the ledger.")
    if books.cost_usd or books.saved_usd or books.unpriced:
        unpriced = f", and {books.unpriced} replies whose price is not known" if books.unpriced else ""
        console.print(f"Spent {usd(books.cost_usd)}{unpriced}; saved {usd(books.saved_usd)} by not asking again.")
    if books.failures:
        _print_failures(books)
    if books.unaligned:
        reasons = ", ".join(f"{count} × {UNALIGNED[reason]}" for reason, count in books.unaligned.most_common())
        console.print(f"{books.unaligned.total()} quotes or spans mark nothing: {reasons}.")


def _print_failures(books: Books) -> None:
    failed = books.failures.total()
    console.print(f"{counted(failed, 'prompt')} got no reply:")
    for reason, count in books.failures.most_common(SHOWN_FAILURES):
        first = books.unanswered.get(reason, [])
        more = ", …" if count > len(first) else ""
        which = f" ({', '.join(first)}{more})" if first else ""
        console.print(f"  {count} × {reason}{which}{_remedy(reason)}")
    if len(books.failures) > SHOWN_FAILURES:
        console.print(f"  … {len(books.failures) - SHOWN_FAILURES} more reasons")
    if any("no reply recorded" not in reason for reason in books.failures):
        console.print(
            "Run this command again: it asks for those alone. In a project, which takes the step for done: `python -m"
            " spacy project run annotate --force`."
        )


def read_gold(paths: Sequence[Path], beside: Sequence[Path] = (), /, **fields: str) -> list[Text]:
    """Read the texts that must not be trained on.

    beside (Sequence[Path]): What else is read by the same field names, see `texts.read_texts`.
    fields (str): Their names, see `texts.read_texts`.
    RAISES (InputError): A file without texts, which would keep nothing out, or what `texts.read_texts` refuses.
    """
    from ..texts import read_texts

    found: list[Text] = []
    for path in paths:
        texts = list(read_texts(path, (*paths, *beside), need_gold=False, **fields))
        if not texts:
            raise InputError(f"{path} has no texts, so it keeps nothing out. Name the gold that you evaluate on.")
        found += texts
    return found


def check_docbin_name(output: Path) -> None:
    """RAISES (ConfigError): The books beside the file would have the same name, or nobody could tell what it is."""
    if output.suffix != ".spacy":
        raise ConfigError(f"{output} is to be a spaCy DocBin: give it a name that ends in .spacy.")


def _remedy(reason: str) -> str:
    """RETURNS (str): What to do about a failure, where that is known."""
    return next((f": {remedy}" for words, remedy in REMEDIES if words in reason), "")


def print_aside(aside: Sequence[tuple[str, str]]) -> None:
    """Print how many records were set aside, why, and which.

    aside (Sequence[Tuple[str, str]]): Each record's place or id, and the reason.
    """
    if aside:
        console.print(f"{counted(len(aside), 'record')} set aside:")
    which: dict[str, list[str]] = {}
    for place, reason in aside:
        which.setdefault(reason, []).append(place)
    reasons = sorted(which, key=lambda reason: -len(which[reason]))
    for reason in reasons[:SHOWN_REASONS]:
        places = which[reason]
        more = ", …" if len(places) > SHOWN_FAILURES else ""
        console.print(f"  {len(places)} × {reason} ({', '.join(places[:SHOWN_FAILURES])}{more})")
    if len(reasons) > SHOWN_REASONS:
        console.print(f"  … {len(reasons) - SHOWN_REASONS} more reasons")


def usd(amount: float) -> str:
    """RETURNS (str): An amount of money: cents where that says enough."""
    if 0 < amount < 0.0001:
        return "<$0.0001"
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"

"""`spacy-distill annotate`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .common import check_docbin_name, console, print_books, progress, usd

if TYPE_CHECKING:
    from ..estimate import Estimate


def annotate(
    config: Annotated[Path, typer.Argument(help="Teacher config: a spaCy config with llm_textcat or llm_ner.")],
    texts: Annotated[Path, typer.Argument(help="Texts: .jsonl, .csv, .tsv, .parquet, or .txt with one a line.")],
    output: Annotated[Path, typer.Argument(help="Where the annotated docs go: a .spacy file (DocBin).")],
    ledger: Annotated[
        Optional[Path], typer.Option(help="File that keeps every reply. Default: ledger.sqlite beside the output.")
    ] = None,
    limit: Annotated[Optional[int], typer.Option(help="Label only the first so many texts.", min=1)] = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="By way of batch files: half the price, within a day.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="With --batch: submit, collect what is done, and end.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only estimate requests, tokens, cost and time.")] = False,
    budget_usd: Annotated[
        Optional[float], typer.Option(help="Stop before the request that could make this run dearer.", min=0)
    ] = None,
    budget_tokens: Annotated[
        Optional[int], typer.Option(help="Stop before the request that could pass so many tokens.", min=0)
    ] = None,
    text_field: Annotated[str, typer.Option(help="Field with the text.")] = "text",
    id_field: Annotated[str, typer.Option(help="Field with the id, if there is one.")] = "id",
    group_field: Annotated[str, typer.Option(help="Field whose texts must stay together in a split.")] = "group",
) -> None:
    """Label texts with the teacher.

    Reads a teacher **config** and a file of **texts**; writes annotated docs to **output** (a DocBin) and the books
    beside it (`.json`). Every reply is committed to the ledger the moment it arrives: stop at any time, run the same
    command again, and only what is missing is asked. The same text is asked once. An output that holds what people
    decided is not overwritten.

    With `--batch` the prompts go to OpenAI's batch API, or another that works like it, and the command waits. Stop it
    or use `--no-wait`: the same command goes on where it was, and submits nothing twice.

    `--dry-run` sends and writes nothing: it estimates what a run would take, well after a `preview`, roughly without.
    A budget holds for one run and counts what its replies cost; what the ledger has is free. Texts that it does not
    reach are written without annotation; run again with a larger one, and only those are asked.

    Example: `spacy-distill annotate configs/teacher.cfg assets/texts.jsonl annotations/pool.spacy`

    Next: `spacy-distill curate`.
    """
    from collections.abc import Iterator
    from itertools import islice

    from ..annotate import annotate as run
    from ..annotate import load_teacher, teachers, use_batches
    from ..docs import check_gold_kept, write_docs
    from ..errors import ConfigError, InputError
    from ..estimate import estimate
    from ..files import write_json
    from ..teacher.budget import Budget
    from ..texts import read_texts
    from ..types import Text

    check_docbin_name(output)
    if no_wait and not batch:
        raise ConfigError("--no-wait goes with --batch.")

    def records() -> Iterator[Text]:
        return islice(read_texts(texts, text_field=text_field, id_field=id_field, group_field=group_field), limit)

    total = sum(1 for _ in records())  # Read once before anything is spent: a wrong record is found now.
    if not total:
        raise InputError(f"{texts} has no texts.")
    ledger = ledger or output.parent / "ledger.sqlite"
    nlp = load_teacher(config, ledger=ledger)
    if dry_run:
        for found in estimate(nlp, records(), ledger=ledger):
            _print_estimate(found, total, budget_usd)
        if batch:
            console.print("With --batch it costs half of that, and takes up to a day.")
        return
    check_gold_kept(output)
    if batch:
        use_batches(nlp, wait=not no_wait)
    limited = budget_usd is not None or budget_tokens is not None
    budget = Budget(budget_usd, budget_tokens) if limited else None

    def note() -> str:
        return f"{usd(books.cost_usd)} spent" if books.cost_usd else ""

    with progress(f"Annotating {total} texts", total * len(teachers(nlp))) as advance:
        docs, books = run(nlp, records(), ledger=ledger, budget=budget, progress=lambda steps: advance(steps, note()))
        try:
            write_docs(output, docs)
        except KeyboardInterrupt:
            console.print(
                f"{books.asked} replies came before the interruption ({usd(books.cost_usd)}), all kept in {ledger};"
                f" {output} was not written."
            )
            raise
    write_json(output.with_suffix(".json"), books.to_dict())
    print_books(books)
    console.print(f"Wrote {output} and {output.with_suffix('.json')}")


def _print_estimate(found: Estimate, texts: int, budget_usd: float | None) -> None:
    from rich.table import Table

    table = Table(title=f"{found.component}: {found.model}, {texts:,} texts, nothing was sent", title_justify="left")
    table.add_column("")
    for column in ("low", "expected", "high"):
        table.add_column(column, justify="right")
    table.add_row("requests", *3 * [f"{found.requests:,}"])
    table.add_row("tokens read", *(f"{value:,.0f}" for value in found.prompt_tokens))
    table.add_row("tokens written", *(f"{value:,.0f}" for value in found.reply_tokens))
    table.add_row("cost", *(["?"] * 3 if found.cost_usd is None else map(usd, found.cost_usd)))
    table.add_row("time", *(["?"] * 3 if found.elapsed_s is None else map(_duration, found.elapsed_s)))
    console.print(table)
    console.print(
        f"Not asked: {found.from_ledger:,} in the ledger, {found.repeated:,} repeated."
        f" Price: {found.price.source if found.price else 'not known; set usd_per_million in the config'}."
    )
    if found.seen:
        console.print(f"Worked out from {found.seen} replies in the ledger, at the speed they came.")
    elif found.requests:
        console.print("A guess: the ledger has too few replies of this model. Run `spacy-distill preview` first.")
    if budget_usd is not None and found.cost_usd is not None and found.cost_usd.expected > budget_usd:
        share = budget_usd / found.cost_usd.expected
        console.print(f"A budget of {usd(budget_usd)} would reach about {share:.0%} of it.")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"

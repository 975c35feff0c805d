"""`spacy-distill preview`"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .common import console, print_books


def preview(
    config: Annotated[Path, typer.Argument(help="Teacher config: a spaCy config with llm_textcat or llm_ner.")],
    texts: Annotated[Path, typer.Argument(help="Texts: .jsonl, .csv, .tsv, .parquet, or .txt with one a line.")],
    count: Annotated[int, typer.Option("--count", "-n", help="How many texts.", min=1)] = 10,
    ledger: Annotated[
        Optional[Path], typer.Option(help="File that keeps every reply, so that annotate need not ask again.")
    ] = Path("annotations/ledger.sqlite"),
    text_field: Annotated[str, typer.Option(help="Field with the text.")] = "text",
    id_field: Annotated[str, typer.Option(help="Field with the id, if there is one.")] = "id",
    group_field: Annotated[str, typer.Option(help="Field whose texts belong together.")] = "group",
) -> None:
    """Label a few texts and look, before spending time or money on all of them.

    Reads a teacher **config** and the first few **texts**. Shows the first prompt word for word, then for each text its
    label (or entities), the confidence and what became of the reply. Writes nothing but the ledger, where `annotate`
    finds the replies.

    Example: `spacy-distill preview configs/teacher.cfg assets/texts.jsonl -n 10`

    Next: change the config's labels, definitions or examples until you agree; then `spacy-distill annotate`, first with
    `--dry-run`: it estimates cost and time from these replies.
    """
    from itertools import islice

    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text as RichText

    from ..annotate import annotate, load_teacher
    from ..docs import annotations_of, facts_of, make_doc
    from ..errors import InputError
    from ..texts import read_texts

    read = read_texts(texts, text_field=text_field, id_field=id_field, group_field=group_field)
    records = list(islice(read, count))
    if not records:
        raise InputError(f"{texts} has no texts.")
    nlp = load_teacher(config, ledger=ledger)
    for name, component in nlp.pipeline:
        task = getattr(component, "task", None)
        if task is not None:
            (prompt,) = task.generate_prompts([make_doc(nlp, records[0])])
            shown = str(prompt) if isinstance(prompt, str) else str(next(iter(prompt[0])))
            panel = Panel(RichText(shown), title=f"{name}: the first prompt, word for word", title_align="left")
            console.print(panel, soft_wrap=False)  # which would cut long lines off
    docs, books = annotate(nlp, records, ledger=ledger)
    table = Table(show_lines=True)
    for column in ("text", "status", "label", "confidence"):
        table.add_column(column, overflow="fold")
    for doc in docs:
        for annotation in annotations_of(doc):
            if annotation.status != "ok":
                facts = facts_of(doc, annotation.task) or {}
                found = str(facts.get("raw") or annotation.provenance.get("error") or "")[:200]
            elif annotation.task == "ner":
                found = "\n".join(f"{doc.text[s.start : s.end]} ({s.label})" for s in annotation.ents or ()) or "–"
            else:
                found = ", ".join(annotation.positive()) or "–"
            confidence = "" if annotation.confidence is None else f"{annotation.confidence:.2f}"
            table.add_row(RichText(doc.text[:400]), annotation.status, RichText(found), confidence)
    console.print(table)
    print_books(books)

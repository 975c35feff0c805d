"""`spacy-distill annotate`"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .common import console, print_summary, progress


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
    text_field: Annotated[str, typer.Option(help="Field with the text.")] = "text",
    id_field: Annotated[str, typer.Option(help="Field with the id, if there is one.")] = "id",
    group_field: Annotated[str, typer.Option(help="Field whose texts must stay together in a split.")] = "group",
) -> None:
    """Label texts with the teacher.

    Reads a teacher **config** and a file of **texts**; writes annotated docs to **output** (a DocBin) and the books
    beside it (`.json`). Every reply is committed to the ledger the moment it arrives: stop at any time, run the same
    command again, and only what is missing is asked. The same text is asked once.

    With `--batch` the prompts go to OpenAI's batch API, or another that works like it, and the command waits. Stop it
    or use `--no-wait`: the same command goes on where it was, and submits nothing twice.

    Example: `spacy-distill annotate configs/teacher.cfg assets/texts.jsonl annotations/pool.spacy`

    Next: `spacy-distill curate`.
    """
    from itertools import islice

    from ..annotate import annotate as run
    from ..annotate import load_teacher, use_batches
    from ..docs import write_docs
    from ..errors import ConfigError, InputError
    from ..files import write_json
    from ..texts import read_texts

    if no_wait and not batch:
        raise ConfigError("--no-wait goes with --batch.")
    records = list(islice(read_texts(texts, text_field=text_field, id_field=id_field, group_field=group_field), limit))
    if not records:
        raise InputError(f"{texts} has no texts.")
    ledger = ledger or output.parent / "ledger.sqlite"
    nlp = load_teacher(config, ledger=ledger)
    if batch:
        use_batches(nlp, wait=not no_wait)
    with progress(f"Annotating {len(records)} texts", len(records)) as advance:
        docs, summary = run(nlp, records, ledger=ledger, progress=advance)
    write_docs(output, docs)
    write_json(output.with_suffix(".json"), summary.to_dict())
    print_summary(summary)
    console.print(f"Wrote {output} and {output.with_suffix('.json')}")

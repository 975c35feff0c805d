"""`spacy-distill import`"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ..types import ConfidenceKind, TaskName
from .common import blank, console, print_books


def import_(
    labels_file: Annotated[Path, typer.Argument(help="Records with text and label: .jsonl, .csv, .tsv, .parquet.")],
    output: Annotated[Path, typer.Argument(help="Where the annotated docs go: a .spacy file (DocBin).")],
    task: Annotated[TaskName, typer.Option(help="What the labels say.")] = "textcat",
    label: Annotated[
        Optional[list[str]], typer.Option(help="A label on offer; repeat it. Default: those that occur.")
    ] = None,
    label_field: Annotated[
        str, typer.Option(help="Field with the label, the list of labels, or the [start, end, label] spans.")
    ] = "label",
    reply_field: Annotated[
        Optional[str], typer.Option(help="Field with the raw reply, parsed and aligned like a live one.")
    ] = None,
    confidence_field: Annotated[Optional[str], typer.Option(help="Field with a confidence, 0 to 1.")] = None,
    confidence_kind: Annotated[ConfidenceKind, typer.Option(help="What it is.")] = "votes",
    multi_label: Annotated[bool, typer.Option(help="Classes: several labels a text, or none ([]).")] = False,
    lang: Annotated[str, typer.Option(help="Language of the texts, for the tokenizer.")] = "en",
    text_field: Annotated[str, typer.Option(help="Field with the text.")] = "text",
    id_field: Annotated[str, typer.Option(help="Field with the id, if there is one.")] = "id",
    group_field: Annotated[str, typer.Option(help="Field whose texts must stay together in a split.")] = "group",
) -> None:
    """Take in labels that a language model made elsewhere.

    Reads records with a text and a label, a list of labels, entity spans, or the model's raw reply; writes the same
    annotated docs as `annotate` does, with the same statuses and the same books. A null label is a reply that could
    not be parsed: it is counted, never trained on.

    Example: `spacy-distill import labels.jsonl annotations/pool.spacy --label-field llm --label ham --label spam`

    Next: `spacy-distill curate`.
    """
    from ..annotate import annotate
    from ..docs import write_docs
    from ..errors import InputError
    from ..files import write_json
    from ..texts import read_records, read_texts

    texts = list(read_texts(labels_file, text_field=text_field, id_field=id_field, group_field=group_field))
    if not texts:
        raise InputError(f"{labels_file} has no records.")
    labels = label or sorted({name for _, record in read_records(labels_file) for name in _labels(record, label_field)})
    if not labels:
        known = "Name the labels on offer with --label." if reply_field else "Name the field with --label-field."
        raise InputError(f"{labels_file}: no record has a label in {label_field!r}. {known}")
    settings: dict[str, Any] = {"labels": labels}
    if task == "textcat":
        settings |= {"exclusive": not multi_label, "allow_none": multi_label}
    model = {
        "@llm_models": "spacy_distill.Recorded.v1",
        "path": str(labels_file),
        "label_field": label_field,
        "reply_field": reply_field,
        "confidence_field": confidence_field,
        "confidence_kind": confidence_kind,
        "text_field": text_field,
    }
    registered = {"textcat": "spacy_distill.TextCat.v1", "ner": "spacy_distill.NER.v1"}[task]
    nlp = blank(lang)
    nlp.add_pipe("llm", name=f"llm_{task}", config={"task": {"@llm_tasks": registered, **settings}, "model": model})
    docs, books = annotate(nlp, texts)
    write_docs(output, docs)
    write_json(output.with_suffix(".json"), books.to_dict())
    print_books(books)
    console.print(f"Wrote {output} and {output.with_suffix('.json')}")


def _labels(record: dict[str, Any], field: str) -> Iterator[str]:
    """YIELDS (str): The labels that a record names. One of another form is reported where it is read."""
    value = record.get(field)
    for item in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(item, Mapping):
            item = item.get("label")
        elif isinstance(item, (list, tuple)) and len(item) == 3:
            item = item[2]
        if isinstance(item, str):
            yield item

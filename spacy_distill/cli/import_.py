"""`spacy-distill import`"""

from pathlib import Path
from typing import Annotated, Any, Optional, get_args

import typer

from .common import console, print_summary


def import_(
    labels_file: Annotated[Path, typer.Argument(help="Records with text and label: .jsonl, .csv, .tsv, .parquet.")],
    output: Annotated[Path, typer.Argument(help="Where the annotated docs go: a .spacy file (DocBin).")],
    task: Annotated[str, typer.Option(help="textcat or ner.")] = "textcat",
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
    confidence_kind: Annotated[str, typer.Option(help="What it is: votes, logprob or verbalised.")] = "votes",
    multi_label: Annotated[bool, typer.Option(help="Text classification: several labels a text.")] = False,
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
    import spacy

    from ..annotate import annotate
    from ..docs import write_docs
    from ..errors import ConfigError, InputError
    from ..files import write_json
    from ..texts import read_records, read_texts
    from ..types import ConfidenceKind

    if task not in ("textcat", "ner"):
        raise ConfigError(f"--task {task!r}: expected textcat or ner.")
    if confidence_kind not in get_args(ConfidenceKind):
        raise ConfigError(
            f"--confidence-kind {confidence_kind!r}: expected one of {', '.join(get_args(ConfidenceKind))}."
        )
    texts = list(read_texts(labels_file, text_field=text_field, id_field=id_field, group_field=group_field))
    if not texts:
        raise InputError(f"{labels_file} has no records.")
    labels = label or sorted({name for _, record in read_records(labels_file) for name in _labels(record, label_field)})
    if not labels:
        raise InputError(f"{labels_file}: no record has a label in {label_field!r}. Name the field with --label-field.")
    settings: dict[str, Any] = {"labels": labels}
    if task == "textcat":
        settings |= {"exclusive": not multi_label, "allow_none": multi_label}  # an empty list says: none of them
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
    nlp = spacy.blank(lang)
    nlp.add_pipe("llm", name=f"llm_{task}", config={"task": {"@llm_tasks": registered, **settings}, "model": model})
    docs, summary = annotate(nlp, texts)
    write_docs(output, docs)
    write_json(output.with_suffix(".json"), summary.to_dict())
    print_summary(summary)
    console.print(f"Wrote {output} and {output.with_suffix('.json')}")


def _labels(record: dict[str, Any], field: str) -> tuple[str, ...]:
    value = record.get(field)
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)):
        return ()
    items = (item.get("label") if isinstance(item, dict) else item for item in value)
    names = (item[2] if isinstance(item, (list, tuple)) and len(item) == 3 else item for item in items)
    return tuple(name for name in names if isinstance(name, str))  # of anything else the model says where it stands

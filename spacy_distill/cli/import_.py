"""`spacy-distill import`"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..formats.types import FormatName
from ..types import ConfidenceKind, TaskName
from .common import blank, check_docbin_name, console, print_aside, print_books

if TYPE_CHECKING:
    from spacy.tokens import Doc

    from ..formats.types import Imported
    from ..types import Annotation

SHOWN_MISFITS = 3
MOST_OF_OTHER_FORM = 0.1
"""A few answers of another form are a language model's mistakes; more are another task."""
MANY_LABELS, MOST_OF_OWN_LABEL = 20, 0.5
"""More labels than so many, and than such a share of what is labelled, are ids or the like."""


def import_(
    labels_file: Annotated[
        Path, typer.Argument(help="Records with text and label: .jsonl, .csv, .tsv, .parquet; or what --format says.")
    ],
    output: Annotated[Path, typer.Argument(help="Where the annotated docs go: a .spacy file (DocBin).")],
    format_: Annotated[
        Optional[FormatName], typer.Option("--format", help="Another tool's form, with people's answers.")
    ] = None,
    gold: Annotated[bool, typer.Option("--gold", help="People gave the answers, where the file cannot tell.")] = False,
    task: Annotated[TaskName, typer.Option(help="What the labels say.")] = "textcat",
    label: Annotated[
        Optional[list[str]], typer.Option(help="A label on offer; repeat it. Default: those that occur.")
    ] = None,
    label_field: Annotated[
        str,
        typer.Option(help="Field (or question, or control tag) with the label, the labels, or the spans."),
    ] = "label",
    reply_field: Annotated[
        Optional[str], typer.Option(help="Field with the raw reply, parsed and aligned like a live one.")
    ] = None,
    confidence_field: Annotated[
        Optional[str], typer.Option(help="Field with a confidence, 0 to 1, or a list with one for each span.")
    ] = None,
    confidence_kind: Annotated[
        ConfidenceKind, typer.Option(help="What that confidence, or a span's own score, is.")
    ] = "votes",
    logprob_field: Annotated[
        Optional[str], typer.Option(help="Field with a log-probability, or a list with one for each span.")
    ] = None,
    multi_label: Annotated[bool, typer.Option(help="Classes: several labels a text, or none ([]).")] = False,
    lang: Annotated[str, typer.Option(help="Language of the texts, for the tokenizer.")] = "en",
    text_field: Annotated[str, typer.Option(help="Field with the text.")] = "text",
    id_field: Annotated[str, typer.Option(help="Field with the id, if there is one.")] = "id",
    group_field: Annotated[str, typer.Option(help="Field whose texts must stay together in a split.")] = "group",
) -> None:
    """Take in labels that a language model made elsewhere, or what people corrected in another tool.

    Reads records with a text and a label, a list of labels, entity spans, or the model's raw reply; writes the same
    annotated docs as `annotate` does, with the same statuses and the same books. A null label is a reply that could
    not be parsed: it is counted, never trained on. A span is `[start, end, label]`, or an object with these names and
    perhaps a `score`, 0 to 1; the rule `min_confidence` can make entities that are less sure unknown. Where a span has
    an unknown label, does not stand on the tokens, or contradicts another, it is counted, and its tokens are unknown.

    Labels are taken for a model's, unless **--gold** says that people gave them: then no rule of curation changes them,
    and the student's card says so.

    With **--format** it reads what people answered in Prodigy, Label Studio, Argilla, a table or CoNLL, where `export`
    had written the texts or something else had. Their answers become gold; what nobody checked comes back as it was
    exported. Skipped or ignored records, and texts on which people disagree, are set aside and counted. Spans that do
    not stand on the tokens of --lang are not moved: they are reported, and their tokens count as unknown. An **output**
    that holds what people decided is not overwritten, unless by what they decided on the same texts; nor one with texts
    that the corrections are not of.

    Example: `spacy-distill import labels.jsonl annotations/pool.spacy --label-field llm --label ham --label spam`

    Next: `spacy-distill curate`; but join corrections with the teacher's annotations first, and those of several
    sessions: `spacy-distill aggregate annotations/pool.spacy corrections.spacy annotations/merged.spacy`.
    """
    from ..annotate import annotate
    from ..docs import annotations_of, check_gold_kept, facts_of, note, write_docs
    from ..errors import ConfigError, InputError
    from ..files import write_json
    from ..formats.registry import read
    from ..formats.types import Wanted
    from ..texts import read_texts

    check_docbin_name(output)
    if format_ is not None:
        if (reply_field, confidence_field, logprob_field) != (None, None, None):
            raise ConfigError("--format says where replies and scores stand: leave --reply-field and the like out.")
        wanted = Wanted(task, text_field, label_field, id_field, group_field)
        found = read(labels_file, format_, wanted, labels=label, exclusive=not multi_label, gold=gold)
        _write(found, labels_file, output, lang)
        return
    if gold and reply_field is not None:
        raise ConfigError("--gold says that people gave the answers, --reply-field that a model did: leave one out.")
    if not gold:
        check_gold_kept(output)
    texts = list(read_texts(labels_file, text_field=text_field, id_field=id_field, group_field=group_field))
    if not texts:
        raise InputError(f"{labels_file} has no records.")
    if reply_field is None:
        kind = "textcat_multilabel" if multi_label and task == "textcat" else task
        check_form(labels_file, label_field, kind, "Import them with --task")
    if not label:
        remedy = "Name the field with --label-field."
        if reply_field is not None:
            remedy = "--reply-field needs the labels on offer: name each with --label."
        label = labels_that_occur(labels_file, label_field, remedy)
    settings: dict[str, Any] = {"labels": label}
    if task == "textcat":
        settings |= {"exclusive": not multi_label, "allow_none": multi_label}
    model = {
        "@llm_models": "spacy_distill.Recorded.v1",
        "path": str(labels_file),
        "label_field": label_field,
        "reply_field": reply_field,
        "confidence_field": confidence_field,
        "confidence_kind": confidence_kind,
        "logprob_field": logprob_field,
        "text_field": text_field,
    }
    registered = {"textcat": "spacy_distill.TextCat.v1", "ner": "spacy_distill.NER.v1"}[task]
    nlp = blank(lang)
    nlp.add_pipe("llm", name=f"llm_{task}", config={"task": {"@llm_tasks": registered, **settings}, "model": model})
    docs: Iterable[Doc]
    docs, books = annotate(nlp, texts)
    if gold:
        docs = list(docs)
        for doc in docs:
            facts = facts_of(doc, task) or {}
            note(doc, task, {**facts, "gold": facts["status"] == "ok"})
        made = [each for doc in docs for each in annotations_of(doc)]
        check_gold_kept(output, made)
        _check_texts_kept(output, made, labels_file)
    write_docs(output, docs)
    write_json(output.with_suffix(".json"), books.to_dict())
    print_books(books, imported=True)
    if books.unaligned and reply_field is None:
        console.print("The tokens of those spans are unknown, unless another span marks them.")
    console.print(f"Wrote {output} and {output.with_suffix('.json')}")


def _write(found: Imported, source: Path, output: Path, lang: str) -> None:
    """Write what another tool's file says as docs, and the books beside them."""
    from ..docs import check_gold_kept, doc_of, write_docs
    from ..errors import InputError, counted
    from ..files import write_json

    made = found.annotations
    if not made:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in Counter(why for _, why in found.aside).items())
        given = counted(found.records, "record")
        raise InputError(f"{source}: none of {given} is an answer ({reasons or 'the file is empty'}).")
    check_gold_kept(output, made)
    _check_texts_kept(output, made, source)
    nlp = blank(lang)
    docs = [doc_of(nlp, annotation) for annotation in made]
    misfits = [(annotation, span) for annotation, (_, spans) in zip(made, docs, strict=True) for span in spans]
    write_docs(output, (doc for doc, _ in docs))
    books = {
        "records": found.records,
        "texts": len(made),
        "gold": sum(annotation.gold for annotation in made),
        "repeats": found.repeats,
        "changed": found.changed,
        "aside": [list(item) for item in found.aside],
        "misfits": [[annotation.id, span.start, span.end, span.label] for annotation, span in misfits],
    }
    write_json(output.with_suffix(".json"), books)
    repeats = f"; {found.repeats} more on the same texts" if found.repeats else ""
    texts = counted(len(made), "text")
    console.print(f"{counted(found.records, 'record')}: {texts}, {books['gold']} of them gold{repeats}.")
    print_aside(found.aside)
    if found.changed:
        console.print(
            f"{counted(len(found.changed), 'text')} with another answer than was exported, though the file does not say"
            f" that a person gave it ({', '.join(found.changed[:3])}): if one did, import with --gold."
        )
    if misfits:
        console.print(f"{counted(len(misfits), 'span')} off the tokens of --lang {lang}; the tokens there are unknown:")
    for annotation, span in misfits[:SHOWN_MISFITS]:
        quote = annotation.text[span.start : span.end]
        console.print(f"  {annotation.id}: {span.label} at {span.start}-{span.end}, {quote!r}")
    console.print(f"Wrote {output} and {output.with_suffix('.json')}")


def _check_texts_kept(output: Path, made: Sequence[Annotation], source: Path) -> None:
    """Look at a file before corrections take its place: they are often of a part of its texts alone.

    RAISES (InputError): It has annotations, for the same task or another, of texts that are not in what was made.
    """
    import shlex

    from spacy.vocab import Vocab

    from ..docs import annotations_of, read_docs
    from ..errors import InputError, counted

    if not output.exists():
        return
    given = {(annotation.task, annotation.id) for annotation in made}
    there = {(each.task, each.id) for doc in read_docs(output, Vocab()) for each in annotations_of(doc)}
    if others := {task for task, _ in there} - {made[0].task}:
        raise InputError(f"{output} has annotations for {others.pop()}, which would be lost. Name another output.")
    if lost := len(there - given):
        names = [output, *(output.with_stem(f"{output.stem}_{what}") for what in ("corrections", "merged"))]
        raise InputError(
            f"{output} has {counted(lost, 'text')} of which {source} says nothing, and they would be lost. Write the"
            f" corrections to {names[1]}, then join them: spacy-distill aggregate {shlex.join(map(str, names))}"
        )


def labels_that_occur(labels_file: Path, field: str, remedy: str) -> list[str]:
    """RETURNS (List[str]): The labels that the records have in a field, sorted.
    RAISES (InputError): There are none, with the remedy; or nearly as many as records.
    """
    from ..errors import InputError
    from ..records import read_records
    from ..texts import names_in

    counts = Counter(name for _, record in read_records(labels_file) for name in _labels(record, field))
    labels = sorted(counts)
    if len(labels) > max(MANY_LABELS, MOST_OF_OWN_LABEL * counts.total()):
        raise InputError(
            f"{labels_file}: {field!r} has {len(labels)} different labels in {counts.total()} places, such as"
            f" {labels[0]!r} and {labels[-1]!r}: too few examples of each to learn from. If it is the right field, name"
            " the labels with --label."
        )
    if not labels:
        for where, record in read_records(labels_file):
            if record.get(field) not in (None, [], ""):
                raise InputError(
                    f"{where}: expected a label, a list of labels or spans in {field!r}, found {record[field]!r}. Write"
                    " each label as text."
                )
        names = names_in(dict.fromkeys(name for _, record in read_records(labels_file) for name in record))
        raise InputError(f"{labels_file}: no record has a label in {field!r} (they have: {names}). {remedy}")
    return labels


def check_form(labels_file: Path, field: str, task: str, remedy: str) -> None:
    """Make sure that labels have the form of a task, before it is found out one by one.

    task (str): "textcat", "textcat_multilabel" or "ner".
    remedy (str): How to name another task, as far as its name.
    RAISES (InputError): Spans where classes are expected, or the other way round; several labels a text, or none, in
        more than `MOST_OF_OTHER_FORM` of the records, where a text has exactly one; or exactly one in each, and several
        in its name, where a text may have several.
    """
    from ..errors import InputError
    from ..records import read_records
    from ..texts import from_cell

    labelled = others = joined = 0
    example = ""
    for where, record in read_records(labels_file):
        value = from_cell(record.get(field))
        if value is None:
            continue
        labelled += 1
        items = value if isinstance(value, (list, tuple)) else [value]
        spans = [item for item in items if not isinstance(item, str)]
        if task != "ner" and spans and isinstance(spans[0], (list, tuple, Mapping)):
            raise InputError(f"{where}: {field!r} has entity spans, such as {spans[0]!r}. {remedy} ner.")
        if task == "ner" and len(spans) < len(items):
            raise InputError(f"{where}: {field!r} has a class, {items[0]!r}, and no spans. {remedy} textcat.")
        if task != "ner" and len(items) != 1:
            others += 1
        elif task == "textcat_multilabel" and isinstance(value, str) and re.search(r"[;|,]", value):
            joined += 1
        if (task == "textcat" and len(items) != 1) or joined:
            example = example or f"{where}: {value!r}"
    if task == "textcat_multilabel" and joined > MOST_OF_OTHER_FORM * labelled and not others:
        raise InputError(
            f"{labels_file}: {joined} of {labelled} records have what looks like several labels in one in {field!r}"
            f' ({example}). Write several as a JSON list: ["a", "b"].'
        )
    if task == "textcat" and others > MOST_OF_OTHER_FORM * labelled:
        many = "textcat_multilabel" if "Choose" in remedy else "textcat --multi-label"
        raise InputError(
            f"{labels_file}: {others} of {labelled} records have several labels in {field!r}, or none ({example})."
            f" {remedy} {many}."
        )


def _labels(record: dict[str, Any], field: str) -> Iterator[str]:
    """YIELDS (str): The labels that a record names. One of another form is reported where it is read."""
    from ..texts import from_cell

    value = from_cell(record.get(field))
    for item in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(item, Mapping):
            item = item.get("label")
        elif isinstance(item, (list, tuple)) and len(item) == 3:
            item = item[2]
        if isinstance(item, str):
            yield item

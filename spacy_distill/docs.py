"""Between `Doc` and the records: where an annotation's facts are kept on a doc, and how they are read back.

`doc._.distill` is a plain dict that survives DocBin: `{"id", "group", "textcat": {…}, "ner": {…}}`. Classes are in
`doc.cats`, entities in `doc.ents`, every span a teacher quoted in `doc.spans["teacher"]` with its score in
`attrs["scores"]`.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.tokens import Span as DocSpan
from spacy.vocab import Vocab
from srsly.msgpack import msgpack_decoders, msgpack_encoders

from .errors import InputError, StageError, counted
from .files import whole_file
from .types import Annotation, Span, TaskName, Text

SPANS_KEY = "teacher"
SHOWN_IDS = 3
_IOB_MISSING = 0
_RECORDED = frozenset(("status", "labels", "exclusive", "confidence", "confidence_kind", "gold", "provenance"))
"""A task's facts that are fields of `Annotation` under the same name."""
DOCBIN_ATTRS = ("ORTH", "SPACY", "ENT_IOB", "ENT_TYPE")

if not Doc.has_extension("distill"):
    Doc.set_extension("distill", default=None)

for codecs in (msgpack_decoders, msgpack_encoders):
    # What packages offer is known once they are imported, but srsly looks through all of them for each doc of a DocBin,
    # which takes three times as long as the doc itself.
    for name, function in codecs.get_entry_points().items():
        codecs.register(name, func=function)
    codecs.entry_points = False


def make_doc(nlp: Language, text: Text) -> Doc:
    """Tokenize a text and note whose it is.

    RETURNS (Doc): Not annotated yet; `doc._.distill` has `id` and `group`.
    """
    doc = nlp.make_doc(text.text)
    doc._.distill = {"id": text.id, "group": text.group}
    return doc


def note(doc: Doc, task: TaskName, facts: Mapping[str, Any]) -> None:
    """Keep a task's facts on the doc beside those of other tasks. Plain types only."""
    doc._.distill = {**(doc._.distill or {}), task: dict(facts)}


def facts_of(doc: Doc, task: TaskName) -> dict[str, Any] | None:
    """RETURNS (Optional[Dict[str, Any]]): What a task noted on the doc; None if it never ran."""
    found: dict[str, Any] | None = (doc._.distill or {}).get(task)
    return found


def confidence_of(doc: Doc) -> float | None:
    """RETURNS (Optional[float]): How sure the teacher was of a doc's classes; None if nobody said, or a person checked
    them. Docs to train on have it too."""
    facts = facts_of(doc, "textcat") or {}
    return None if facts.get("gold") else facts.get("confidence")


def annotations_of(doc: Doc) -> list[Annotation]:
    """Read the records back from an annotated doc.

    RETURNS (List[Annotation]): One for each task that ran; empty if none did, or if the doc is one to train on.
    """
    distill = doc._.distill or {}
    found = []
    for task in get_args(TaskName):
        facts = distill.get(task)
        if facts is None or "status" not in facts:
            continue
        labels = tuple(sys.intern(str(label)) for label in facts["labels"])  # a DocBin has a copy for each doc
        ok = facts["status"] == "ok"
        ents, doubtful = _entities(doc) if ok and task == "ner" else (None, ())
        found.append(
            Annotation(
                id=str(distill.get("id", "")),
                text=doc.text,
                task=task,
                labels=labels,
                status=facts["status"],
                exclusive=bool(facts.get("exclusive", True)),
                cats={label: doc.cats.get(label, 0.0) for label in labels} if ok and task == "textcat" else None,
                ents=ents,
                missing=missing_of(doc) if ok and task == "ner" else (),
                doubtful=doubtful,
                confidence=facts.get("confidence"),
                confidence_kind=facts.get("confidence_kind"),
                group=distill.get("group"),
                gold=bool(facts.get("gold", False)),
                provenance=dict(facts.get("provenance", {})),
                notes={
                    name: list(value) if isinstance(value, tuple) else value  # A DocBin knows no lists.
                    for name, value in facts.items()
                    if name not in _RECORDED
                },
            )
        )
    return found


def _entities(doc: Doc) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """RETURNS (Tuple[Tuple[Span, ...], Tuple[Span, ...]]): Entities with their scores, and what else was named."""
    group: Sequence[DocSpan] = doc.spans.get(SPANS_KEY, ())
    scores = doc.spans[SPANS_KEY].attrs.get("scores", ()) if group else ()
    named = [
        Span(span.start_char, span.end_char, span.label_, score)
        for span, score in itertools.zip_longest(group, scores[: len(group)])
    ]
    score_of = {(span.start, span.end, span.label): span.score for span in named if span.score is not None}
    places = [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
    ents = tuple(Span(*place, score_of.get(place)) for place in places)
    return ents, tuple(span for span in named if (span.start, span.end, span.label) not in places)


def missing_of(doc: Doc) -> tuple[Span, ...]:
    """RETURNS (Tuple[Span, ...]): The tokens that are neither in an entity nor outside of one, run by run."""
    runs = itertools.groupby(doc, key=lambda token: token.ent_iob == _IOB_MISSING)
    unknown = [list(run) for missing, run in runs if missing]
    return tuple(Span(run[0].idx, run[-1].idx + len(run[-1]), "") for run in unknown)


def annotate_doc(doc: Doc, annotation: Annotation) -> Doc:
    """Set an annotation on a doc of the same text: the inverse of `annotations_of`.

    RETURNS (Doc): The same doc.
    RAISES (InputError): The texts differ, entities overlap, or one does not stand on token boundaries.
    """
    if doc.text != annotation.text:
        raise InputError(f"Record {annotation.id}: the doc's text is not the record's. Tokenize the record's own text.")
    doc._.distill = {**(doc._.distill or {}), "id": annotation.id, "group": annotation.group}
    note(
        doc,
        annotation.task,
        {
            **annotation.notes,
            "status": annotation.status,
            "labels": list(annotation.labels),
            "exclusive": annotation.exclusive,
            "confidence": annotation.confidence,
            "confidence_kind": annotation.confidence_kind,
            "gold": annotation.gold,
            "provenance": dict(annotation.provenance),
        },
    )
    _set_answer(doc, annotation)
    if annotation.ents is not None:
        # What is doubtful and stands on no tokens of this doc could not be marked on it.
        doubtful = [span for span in annotation.doubtful if doc.char_span(span.start, span.end) is not None]
        named = sorted((*annotation.ents, *doubtful), key=lambda span: (span.start, span.end, span.label))
        doc.spans[SPANS_KEY] = [_char_span(doc, annotation, span) for span in named]
        doc.spans[SPANS_KEY].attrs["scores"] = [span.score for span in named]
    return doc


def doc_of(nlp: Language, annotation: Annotation) -> tuple[Doc, tuple[Span, ...]]:
    """Tokenize an annotation's text and set the annotation. Entities that do not stand on token boundaries become
    missing: training skips their tokens, and spaCy's scorer passes them over.

    RETURNS (Tuple[Doc, Tuple[Span, ...]]): The doc, and those entities.
    """
    doc = make_doc(nlp, Text(annotation.id, annotation.text, annotation.group))
    misfits = tuple(span for span in annotation.ents or () if doc.char_span(span.start, span.end) is None)
    if misfits:
        fits = tuple(span for span in annotation.ents or () if span not in misfits)
        annotation = replace(annotation, ents=fits, missing=annotation.missing + misfits)
    return annotate_doc(doc, annotation), misfits


def correct_doc(doc: Doc, annotation: Annotation) -> Doc:
    """Put other classes or entities in the place of those of an annotated doc. What the teacher quoted stays in
    `doc.spans["teacher"]`, and its reply in the facts.

    RETURNS (Doc): A copy.
    RAISES (InputError): See `annotate_doc`.
    """
    copy = doc.copy()
    said = {"confidence": annotation.confidence, "confidence_kind": annotation.confidence_kind}
    note(copy, annotation.task, {**(facts_of(doc, annotation.task) or {}), **said})
    _set_answer(copy, annotation)
    return copy


def _set_answer(doc: Doc, annotation: Annotation) -> None:
    if annotation.cats is not None:
        # All that were on offer: one that is not named must not keep the score it had.
        doc.cats.update({label: float(annotation.cats.get(label, 0.0)) for label in annotation.labels})
    if annotation.ents is not None:
        ents = [_char_span(doc, annotation, span) for span in annotation.ents]
        missing = [_char_span(doc, annotation, span, mode="expand") for span in annotation.missing]
        for one, other in itertools.pairwise(sorted(ents, key=lambda ent: ent.start)):
            if other.start < one.end:
                raise InputError(
                    f"Record {annotation.id}: {one.label_} at {one.start_char}-{one.end_char} and {other.label_} at"
                    f" {other.start_char}-{other.end_char} overlap. A doc holds one entity a token: keep one of them."
                )
        set_entities(doc, ents, missing)


def set_entities(doc: Doc, ents: Sequence[DocSpan], missing: Iterable[DocSpan]) -> None:
    """Set `doc.ents`. Tokens of `missing` that are in no entity become missing, all others are outside."""
    taken = {token for ent in ents for token in range(ent.start, ent.end)}
    unknown = sorted({i for span in missing for i in range(span.start, span.end)} - taken)
    doc.set_ents(list(ents), missing=[doc[i : i + 1] for i in unknown], default="outside")


def _char_span(doc: Doc, annotation: Annotation, span: Span, mode: str = "strict") -> DocSpan:
    found = doc.char_span(span.start, span.end, label=span.label, alignment_mode=mode)
    if found is None:
        quote = doc.text[span.start : span.end]
        raise InputError(
            f"Record {annotation.id}: {span.label} at {span.start}-{span.end} ({quote!r}) does not stand on token"
            " boundaries. Align it first, or use the tokenizer it was made with."
        )
    return found


def write_docs(path: Path, docs: Iterable[Doc], *, keep: Literal["facts", "confidence", "targets"] = "facts") -> int:
    """Write docs as a DocBin.

    keep (Literal["facts", "confidence", "targets"]): All facts and what the teacher quoted; or, to train on, how sure
        it was of the classes (see `confidence_of`), or nothing but the targets: spaCy reads a corpus anew in each
        epoch, and takes several times as long where docs have anything else.
    RETURNS (int): How many.
    """
    docbin = DocBin(attrs=DOCBIN_ATTRS, store_user_data=keep != "targets")
    for doc in docs:
        as_it_is = keep == "facts" or (keep == "targets" and SPANS_KEY not in doc.spans)  # without user_data then
        docbin.add(doc if as_it_is else _bare(doc))
    with whole_file(path) as part:
        docbin.to_disk(part)
    return len(docbin)


def _bare(doc: Doc) -> Doc:
    """RETURNS (Doc): A copy to train on."""
    copy, confidence = doc.copy(), confidence_of(doc)
    copy.spans.pop(SPANS_KEY, None)
    copy.user_data = {}
    if confidence is not None:
        note(copy, "textcat", {"confidence": confidence})
    return copy


def check_gold_kept(path: Path, annotations: Iterable[Annotation] = ()) -> None:
    """Look at a file before it is replaced: a person's decision is not to be lost to a teacher's.

    annotations (Iterable[Annotation]): What is to stand there.
    RAISES (InputError): The file has gold that the annotations do not have, or is not of our making.
    """
    if not path.exists():
        return
    remedy = "Name another output, or move that file away first."
    given = {(annotation.task, annotation.id) for annotation in annotations if annotation.gold}
    lost: dict[str, None] = {}
    try:
        for doc in read_docs(path, Vocab()):
            found = annotations_of(doc)
            if not found:
                raise InputError("no annotations")
            lost |= {each.id: None for each in found if each.gold and (each.task, each.id) not in given}
    except InputError:
        raise InputError(f"{path} exists, and neither `annotate` nor `import` wrote it. {remedy}") from None
    if lost:
        shown = ", ".join([*lost][:SHOWN_IDS]) + (", …" if len(lost) > SHOWN_IDS else "")
        texts = counted(len(lost), "text")
        raise InputError(f"{path} holds what people decided on {texts} ({shown}), which would be lost. {remedy}")


def read_docs(path: Path, vocab: Vocab) -> Iterator[Doc]:
    """YIELDS (Doc): The docs of a DocBin. RAISES (StageError, InputError): No such file; not a DocBin."""
    if not path.exists():
        raise StageError(f"{path} does not exist. Run the stage that writes it first.")
    try:
        docbin = DocBin(store_user_data=True).from_disk(path)
    except Exception as error:
        raise InputError(f"{path} is not a spaCy DocBin. `annotate` and `import` write such files.") from error
    yield from docbin.get_docs(vocab)


def read_annotations(path: Path, vocab: Vocab, task: TaskName | None = None) -> list[Annotation]:
    """Read the records of an annotated DocBin.

    task (Optional[TaskName]): Which, if more than one ran.
    RETURNS (List[Annotation]): One a doc, in order.
    RAISES (InputError): No doc has records, or two tasks ran and `task` does not say which, or a doc has none.
    RAISES (StageError): No such file, or no docs in it.
    """
    return read_annotated(path, vocab, task)[1]


def read_annotated(path: Path, vocab: Vocab, task: TaskName | None = None) -> tuple[list[Doc], list[Annotation]]:
    """Read the docs of an annotated DocBin, and the record of each: see `read_annotations`.

    RETURNS (Tuple[List[Doc], List[Annotation]]): As many of one as of the other, in the same order.
    """
    docs = list(read_docs(path, vocab))
    if not docs:
        raise StageError(f"{path} has no docs: the stage that wrote it kept nothing. Look at what it says beside it.")
    per_doc = [{annotation.task: annotation for annotation in annotations_of(doc)} for doc in docs]
    tasks = sorted({task for found in per_doc for task in found})
    if not tasks:
        raise InputError(f"{path} has no annotations of ours: make it with `spacy-distill annotate` or `import`.")
    if task is None and len(tasks) > 1:
        raise InputError(f"{path} has annotations for {' and '.join(tasks)}: say which with --task.")
    wanted = task or tasks[0]
    if wanted not in tasks:
        raise InputError(f"{path} has annotations for {tasks[0]}, none for {wanted}.")
    for number, found in enumerate(per_doc, 1):
        if wanted not in found:
            raise InputError(f"{path}: doc {number} was never annotated for {wanted}. Annotate all of them first.")
    return docs, [found[wanted] for found in per_doc]

"""`spacy-distill curate`"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.table import Table

from ..types import TaskName
from .common import NO_GOLD, SHOWN_LABELS, console, read_gold

if TYPE_CHECKING:
    from ..curation.types import Correction, Curation
    from ..evaluation.comparison import Interval
    from ..evaluation.curation_sweep import Sweep
    from ..types import Annotation as Record

FEW_EXAMPLES = 10
"""A label with fewer texts than this is named in a warning."""
SWEEP = "sweep.json"


def curate(
    annotations: Annotated[Path, typer.Argument(help="Annotated docs from `annotate` or `import` (.spacy).")],
    output_dir: Annotated[
        Path, typer.Argument(help="Where kept.spacy, what was corrected or rejected, and the books go.")
    ],
    config: Annotated[Path, typer.Option(help="The rules and their order.")] = Path("configs/curation.cfg"),
    gold: Annotated[
        Optional[list[Path]], typer.Option(help="Texts kept for evaluation: must not be trained on. Repeat it.")
    ] = None,
    task: Annotated[Optional[TaskName], typer.Option(help="Which, if the docs have both.")] = None,
    code: Annotated[Optional[Path], typer.Option(help="Python file that registers rules of your own.")] = None,
    explain: Annotated[
        bool, typer.Option(help="Show three texts that each rule rejected, corrected or doubts.")
    ] = False,
    sweep: Annotated[bool, typer.Option(help="Find out which filter would help a student, if any.")] = False,
    gold_dev: Annotated[
        Optional[Path], typer.Option(help="With --sweep: people's labels to compare on. Not trained on either.")
    ] = None,
    student: Annotated[
        Optional[Path], typer.Option(help="With --sweep: the student's config. Default: the quick one beside --config.")
    ] = None,
    text_field: Annotated[str, typer.Option(help="Field with the text in the gold.")] = "text",
    group_field: Annotated[str, typer.Option(help="Field with the group in the gold.")] = "group",
    gold_field: Annotated[str, typer.Option(help="Field with the labels in the gold; names are checked.")] = "gold",
) -> None:
    """Decide what the student may learn from.

    Reads annotated docs; runs the rules that **config** lists, in its order; writes `kept.spacy` (the docs as they
    were, or as a rule corrected them), `corrected.jsonl` (before and after), `rejected.jsonl` (each with the rule and
    its reason), `review.jsonl` (what is kept and people should look at) and `curation.json` (the books: nothing
    disappears uncounted). Name every file you evaluate on with **--gold**, so that the student never sees those texts
    or near-duplicates of them.

    **--sweep** trains a quick student for each of several settings (no filter; confidence thresholds, overall and
    within classes; errors corrected or dropped; texts weighted by confidence; soft targets; balanced classes; each
    other rule left out), on the same texts, and compares them on the same dev texts with an interval against no filter.
    Writes `sweep.json`, and prints what to write into the config where a setting is significantly better. Without
    **--gold-dev** the comparison is with the teacher's labels. Classes take seconds a setting, entities minutes.

    Example: `spacy-distill curate annotations/pool.spacy curated --gold assets/gold.jsonl --explain`

    Next: `spacy-distill corpus`.
    """
    import tempfile

    from spacy.util import import_file
    from spacy.vocab import Vocab

    from ..curation.curate import curate as run
    from ..curation.curate import make_rules, read_rules
    from ..curation.rules import LEAKAGE
    from ..curation.types import Context
    from ..curation.write import BOOKS, CORRECTED, KEPT, REJECTED, REVIEW, write_curation
    from ..docs import read_annotated
    from ..errors import ConfigError, StageError
    from ..evaluation.curation_sweep import sweep as run_sweep
    from ..files import describe_file, write_json
    from ..students.tiers import check_student
    from ..texts import check_gold_names, gold_annotations, read_texts

    if code is not None:
        if not code.is_file():
            raise ConfigError(f"--code: {code} does not exist or is not a file.")
        import_file("python_code", code)
    settings = read_rules(config)
    rules = make_rules(settings, str(config))
    if not sweep and (gold_dev or student):
        raise ConfigError("--gold-dev and --student go with --sweep.")
    gold = [*(gold or []), *([gold_dev] if gold_dev else [])]
    fields = {"text_field": text_field, "group_field": group_field, "gold_field": gold_field}
    guards = [name for name in rules if settings["rules"][name]["@misc"] == LEAKAGE]
    if gold and not guards:
        raise ConfigError(
            f'{config} lists no rule with `@misc = "{LEAKAGE}"`, which alone keeps gold out of the training'
            " data. Add it to [curation] rules, or leave --gold out."
        )
    held_out = read_gold(gold, **fields)
    docs, found = read_annotated(annotations, Vocab(), task)
    unheard = check_gold_names(held_out, found[0].labels)
    first, people = found[0], None
    quick = "ner" if first.task == "ner" else "textcat_tiny"
    student = student or config.parent / f"{quick}.cfg"
    if sweep:
        check_student(student, first.task, first.exclusive)
    if gold_dev is not None:
        texts = read_texts(gold_dev, gold, need_gold=True, **fields)
        people = gold_annotations(texts, first.task, labels=first.labels, exclusive=first.exclusive)
    result = run(found, rules, Context.of(held_out))
    sources = {
        "annotations": describe_file(annotations),
        "config": describe_file(config),
        "gold": [describe_file(path) for path in gold],
        "code": describe_file(code) if code else None,
    }
    write_curation(output_dir, docs, found, result, task=found[0].task, sources=sources)
    _remove_old_sweep(output_dir / SWEEP, sources)
    _print_books(result)
    if explain:
        _print_examples(result)
    console.print(f"Wrote {', '.join(str(output_dir / name) for name in (KEPT, CORRECTED, REJECTED, REVIEW, BOOKS))}")
    if not gold:
        console.print(NO_GOLD)
    elif any(each.group for each in found) and not any(text.group for text in held_out):
        console.print(
            "The texts have groups, the gold has none: nothing keeps out other texts of a group that the gold is from."
            " If it says the groups, name their field with --group-field.",
            style="yellow",
        )
    if unheard:
        named = ", ".join(f"{label!r} ({count})" for label, count in unheard.most_common(SHOWN_LABELS))
        more = ", …" if len(unheard) > SHOWN_LABELS else ""
        console.print(f"Gold has labels that were not on offer: {named}{more}", style="yellow")
    if not result.kept:
        last = next(book for book in result.books.rules if not book.kept)
        raise StageError(
            f"Curation kept nothing: the rule {last.rule!r} dropped the last {last.dropped} of"
            f" {result.books.rules[0].given}. See {output_dir / REJECTED} for the reasons."
        )
    rare = result.books.rare_labels(FEW_EXAMPLES)
    if rare:
        named = ", ".join(f"{label} ({result.books.labels_after[label]})" for label in rare)
        console.print(f"Fewer than {FEW_EXAMPLES} examples, so hardly learnable: {named}", style="yellow")
    if sweep:
        with tempfile.TemporaryDirectory() as folder:
            compared = run_sweep(
                docs,
                found,
                settings,
                Context.of(held_out),
                student=student,
                folder=Path(folder),
                gold_dev=people,
                started=lambda name: console.print(f"Training {student.name}: {name}"),
            )
        write_json(output_dir / SWEEP, {**asdict(compared), "sources": {**sources, "student": describe_file(student)}})
        _print_sweep(compared, first.task)
        console.print(f"Wrote {output_dir / SWEEP}")


def _remove_old_sweep(path: Path, sources: Mapping[str, Any]) -> None:
    """Remove the figures of a sweep of other annotations: they say nothing of what stands beside them now."""
    import srsly

    if not path.is_file():
        return
    try:
        made_of = srsly.read_json(path)["sources"]["annotations"]["sha256"]
    except (ValueError, TypeError, KeyError):  # Cut off, or of another hand.
        made_of = None
    if made_of != sources["annotations"]["sha256"]:
        path.unlink()
        console.print(f"{path.name} was of other annotations: removed.")


def _print_books(result: Curation) -> None:
    table = Table(title="Rules", title_justify="left")
    table.add_column("rule")
    for name in ("given", "kept", "corrected", "dropped", "review"):
        table.add_column(name, justify="right")
    table.add_column("notes")
    for book in result.books.rules:
        notes = ", ".join(f"{name}: {count}" for name, count in book.notes.items())
        counts = (book.given, book.kept, book.corrected, book.dropped, book.review)
        table.add_row(book.rule, *map(str, counts), notes)
    console.print(table)
    table = Table(title="Labels", title_justify="left")
    table.add_column("label")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    for label, before in result.books.labels_before.items():
        table.add_row(label, str(before), str(result.books.labels_after.get(label, 0)))
    console.print(table)


def _print_sweep(found: Sweep, task: TaskName) -> None:
    whose = "people's labels" if found.dev_from == "gold" else "the teacher's own labels"
    table = Table(title=f"Students of {found.train} texts, on {found.dev} with {whose}", title_justify="left")
    table.add_column("setting")
    for name in ("texts", found.metric, "macro_f1", "against no filter"):
        table.add_column(name, justify="right")
    for outcome in found.outcomes:
        against = outcome.note or _interval(outcome.difference, sign="+")
        table.add_row(outcome.name, str(outcome.kept), _interval(outcome.score), _interval(outcome.macro_f1), against)
    console.print(table)
    if found.dev_from == "silver":
        console.print(
            "This is agreement with the teacher, its errors included, not accuracy: a setting that leaves out the"
            " teacher's errors is not seen to be better here. Some 200 texts that people labelled, as --gold-dev, tell"
            " more.",
            style="yellow",
        )
    best = found.best
    if best is None:
        console.print(
            "Nothing is significantly better than no filter: leave the filters out, or bring more texts to compare on."
        )
        return
    console.print(f"Significantly better than no filter: {best.name}. In the curation config:")
    console.print(best.config)
    if task == "ner":  # What differs between their settings are rules alone.
        return
    options = ("" if best.soft else " --hard") + ("" if best.weight is None else " --confidence")
    weight = "null" if best.weight is None else f'"{best.weight}"'
    settings = f"balance = {best.balance}, weight = {weight}"
    console.print(f"Make the corpus with `spacy-distill corpus{options}`; in the student's component: {settings}")


def _interval(found: Interval | None, sign: str = "") -> str:
    """RETURNS (str): In percent, with its ends."""
    if found is None:
        return "–"
    return f"{100 * found.value:{sign}.1f} ({100 * found.low:{sign}.1f} to {100 * found.high:{sign}.1f})"


def _print_examples(result: Curation) -> None:
    for book in result.books.rules:
        for rejection in [item for item in result.rejected if item.rule == book.rule][:3]:
            console.print(f"{book.rule}: {rejection.annotation.id}: {rejection.reason}")
            console.print(f"    {_short(rejection.annotation.text)}")
        for correction in [item for item in result.corrected if item.rule == book.rule][:3]:
            console.print(f"{book.rule}: {correction.after.id}: {_difference(correction)}")
            console.print(f"    {_short(correction.after.text)}")
        for doubt in [item for item in result.review if item.rule == book.rule][:3]:
            console.print(f"{book.rule}: {doubt.annotation.id}, kept for review: {doubt.reason}")
            console.print(f"    {_short(doubt.annotation.text)}")


def _difference(correction: Correction) -> str:
    """RETURNS (str): What was said before and after, of the spans or classes that differ."""
    before, after = correction.before, correction.after
    if after.ents is None:
        return f"{_scored(before)} became {_scored(after)}"
    now = {(span.start, span.end): span.label for span in after.ents}
    said = [
        f"{_short(after.text[span.start : span.end], 30)!r} {span.label} became"
        f" {now.get((span.start, span.end), 'unknown')}"
        for span in before.ents or ()
        if now.get((span.start, span.end)) != span.label
    ]
    known = {(span.start, span.end) for span in before.ents or ()} | {(s.start, s.end) for s in before.missing}
    fresh = [span for span in after.missing if (span.start, span.end) not in known]
    said += [f"{_short(after.text[span.start : span.end], 30)!r} became unknown" for span in fresh]
    return "; ".join(said[:4]) + ("; …" if len(said) > 4 else "")


def _scored(annotation: Record) -> str:
    """RETURNS (str): The classes with a score worth naming."""
    scores = sorted((annotation.cats or {}).items(), key=lambda item: -item[1])
    return ", ".join(f"{label} {score:.2f}" for label, score in scores[:3] if score >= 0.01) or "no label"


def _short(text: str, length: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"

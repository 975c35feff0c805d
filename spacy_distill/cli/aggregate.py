"""`spacy-distill aggregate`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer
from rich.table import Table

from ..errors import counted
from ..types import TaskName
from .common import SHOWN_LABELS, check_docbin_name, console

if TYPE_CHECKING:
    from ..curation.aggregation import Aggregation
    from ..curation.agreement import Agreement

SHOWN_TEACHERS = 8
"""With more of them, the pairs are in the books alone."""


def aggregate(
    sources: Annotated[
        list[Path], typer.Argument(help="The same texts annotated by each teacher, or by people (.spacy); two or more.")
    ],
    output: Annotated[Path, typer.Argument(help="Where the result goes: a .spacy file (DocBin). Comes last.")],
    method: Annotated[
        Literal["majority", "weighted", "dawid-skene"], typer.Option(help="How votes become an answer: see above.")
    ] = "majority",
    weight: Annotated[
        Optional[list[float]],
        typer.Option(help="With weighted: one for each source, in order. Default: their agreement with the others."),
    ] = None,
    task: Annotated[Optional[TaskName], typer.Option(help="Which, if the docs have both.")] = None,
) -> None:
    """Make one annotation of several teachers', or several prompts'.

    Reads what `annotate` or `import` wrote for the same texts, once for each teacher; matches them by id; writes docs
    as these do, with the aggregated annotation, and the books beside them as JSON. A teacher that declined or failed on
    a text, or does not have it, has no vote there. What people checked is never outvoted: so it joins corrections with
    what they correct, and several sessions of corrections, which need no text in common. What nobody checked in them is
    no second vote for the teacher; beside one teacher alone it stays as it is. An **output** that holds what people
    decided is written over only where they have a say again.

    **majority**: every vote counts the same; a good start. **weighted**: good teachers count more. **dawid-skene**:
    finds out from the votes alone how often each teacher takes which label for which (three teachers or more); best
    where some are much worse than others. It takes them to err independently, which they hardly do, least of all
    prompts of one model: its probabilities are too sure, and `spacy-distill calibrate` says by how much.

    Classes become soft labels; the confidence is the share of the votes, or the probability. Of entities, overlapping
    spans of one label are one, with the boundary that most chose, and the score is lower the less the others overlap
    with it; those with a score below half become unknown, which a student neither learns nor unlearns.

    Prints how far the teachers agree (Fleiss' and Cohen's kappa, or the F1 of spans) and what the result overrules.

    Example: `spacy-distill aggregate annotations/gpt.spacy annotations/qwen.spacy annotations/llama.spacy
    annotations/pool.spacy --method dawid-skene`

    Next: `spacy-distill curate`.
    """
    from ..curation.aggregation_files import aggregate_files

    check_docbin_name(output)
    found = aggregate_files(sources, output, method=method, weights=weight or None, task=task)
    _print_teachers(found)
    if found.agreement is not None:
        _print_agreement(found, found.agreement)
    for sentence in _in_words(found):
        console.print(sentence)
    console.print(f"Wrote {output} and {output.with_suffix('.json')}")


def _print_teachers(found: Aggregation) -> None:
    texts = counted(found.counts["texts"], "text")
    table = Table(title=f"{texts}, {len(found.teachers)} teachers", title_justify="left")
    table.add_column("teacher")
    for name in ("texts", "absent", "no vote", "votes", "overruled", "agreement"):
        table.add_column(name, justify="right")
    weighed, estimated = found.teachers[0].weight is not None, found.teachers[0].accuracy is not None
    if weighed:
        table.add_column("weight", justify="right")
    if estimated:
        table.add_column("right (estimated)", justify="right")
    for teacher in found.teachers:
        counts = (teacher.texts, teacher.absent, teacher.texts - teacher.votes, teacher.votes, teacher.overruled)
        cells = [*map(str, counts), _figure(teacher.agreement)]
        if weighed:
            cells.append(_figure(teacher.weight))
        if estimated:
            cells.append(_figure(teacher.accuracy))
        table.add_row(teacher.name, *cells)
    console.print(table)


def _print_agreement(found: Aggregation, measured: Agreement) -> None:
    of_pairs, of_all = ("Cohen's kappa", "Fleiss' kappa") if measured.measure == "kappa" else ("F1", "mean F1")
    count = len(found.teachers)
    if count <= SHOWN_TEACHERS:
        table = Table(title=f"Agreement of pairs ({of_pairs})", title_justify="left")
        table.add_column("")
        for number in range(1, count):
            table.add_column(f"{number + 1}", justify="right")
        for one in range(count - 1):
            cells = [_figure(measured.pairs[one, other]) if other > one else "" for other in range(1, count)]
            table.add_row(f"{one + 1} {found.teachers[one].name}", *cells)
        table.add_row(f"{count} {found.teachers[-1].name}")
        console.print(table)
    table = Table(title=f"Labels (together: {of_all} {_figure(measured.overall)})", title_justify="left")
    table.add_column("label")
    table.add_column(of_all, justify="right")
    table.add_column("in the result", justify="right")
    order = sorted(measured.labels, key=lambda label: (measured.labels[label] is None, measured.labels[label] or 0.0))
    for label in order[:SHOWN_LABELS]:
        table.add_row(label, _figure(measured.labels[label]), str(found.labels[label]))
    if len(order) > SHOWN_LABELS:
        table.add_row(f"… {len(order) - SHOWN_LABELS} more, agreed on better")
    console.print(table)


def _in_words(found: Aggregation) -> list[str]:
    counts = found.counts
    said = [
        f"{counted(counts['texts'], 'text')}: {counts['unanimous']} unanimous, {counts['disputed']} disputed,"
        f" {counts['one_vote']} with one vote alone, {counts['without_a_vote']} with none."
    ]
    if absent := counts["texts"] - counts["in_all_sources"]:
        said.append(f"{counted(absent, 'text')} not in all sources: those that have the text decide.")
    if "candidates" in counts:
        said.append(
            f"{counts['candidates']} stretches were named, {counts['with_several_boundaries']} of them with several"
            f" boundaries; {counts['became_entities']} became entities, the others are unknown."
        )
    if even := counts.get("even"):
        said.append(f"{counted(even, 'decision')} even: the scores say so, and a hard label would be arbitrary.")
    if "against_majority" in counts:
        said.append(f"{counted(counts['against_majority'], 'decision')} against the plain majority.")
    return said


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

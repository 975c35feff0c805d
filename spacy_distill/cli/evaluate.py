"""`spacy-distill evaluate`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..types import TaskName
from .common import console


def evaluate(
    student: Annotated[Path, typer.Argument(help="The trained pipeline, such as training/fast/model-best.")],
    gold_file: Annotated[Path, typer.Argument(help="Texts with gold: JSONL, CSV, TSV or Parquet.")],
    output_dir: Annotated[Path, typer.Argument(help="Where report.html and evaluation.json go.")],
    teacher: Annotated[Optional[Path], typer.Option(help="The gold file annotated by the teacher (.spacy).")] = None,
    corpus: Annotated[
        Optional[Path], typer.Option(help="Its corpus directory: adds the majority label, and looks for gold in it.")
    ] = None,
    teacher_weights: Annotated[Optional[Path], typer.Option(help="The teacher's weights, to show their size.")] = None,
    task: Annotated[Optional[TaskName], typer.Option(help="Which, where the pipeline does both.")] = None,
    text_field: Annotated[str, typer.Option(help="The gold file's field with the text.")] = "text",
    id_field: Annotated[str, typer.Option(help="Its field with the id.")] = "id",
    group_field: Annotated[str, typer.Option(help="Its field with what belongs together.")] = "group",
    gold_field: Annotated[str, typer.Option(help="Its field with the gold label or labels.")] = "gold",
    examples: Annotated[bool, typer.Option(help="Show gold texts in the report.")] = True,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Compare a student with its teacher on texts that people labelled.

    Reads a trained pipeline, a gold file and, with --teacher, the same file as `spacy-distill annotate` left it. Runs
    the student over the gold texts, times it, and scores both against gold, with a paired bootstrap that draws whole
    groups of texts where the file has groups. Texts that the teacher was not reached for are left out; where they are
    more than 5 %, the teacher is, and `spacy-distill annotate` asks for them again. With --corpus it also scores the
    answer "always the most frequent label" (classes), and says how many gold texts the student was trained on.

    Writes `OUTPUT_DIR/report.html` (one file, to open in a browser; it shows gold texts unless --no-examples is given)
    and `OUTPUT_DIR/evaluation.json` (every figure, no texts), and prints the table.

    Example: `spacy-distill evaluate training/fast/model-best assets/gold.jsonl evaluation --teacher
    annotations/gold.spacy --corpus corpus`

    Next: `spacy-distill release` makes an installable package of the student.
    """
    from ..evaluation.report import print_table
    from ..evaluation.run import evaluate_files

    evaluation = evaluate_files(
        student,
        gold_file,
        output_dir,
        teacher=teacher,
        corpus=corpus,
        teacher_weights=teacher_weights,
        task=task,
        fields={"text_field": text_field, "id_field": id_field, "group_field": group_field, "gold_field": gold_field},
        examples=examples,
        seed=seed,
    )
    print_table(evaluation, console)
    console.print(f"Report: {output_dir / 'report.html'}")

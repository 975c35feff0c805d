"""`spacy-distill calibrate`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.table import Table

from ..types import TaskName
from .common import console

if TYPE_CHECKING:
    from ..evaluation.comparison import Interval
    from ..evaluation.confidence_kinds import Recommendation


def calibrate(
    gold_file: Annotated[Path, typer.Argument(help="Texts with gold: JSONL, CSV, TSV or Parquet.")],
    output_dir: Annotated[Path, typer.Argument(help="Where calibration.json and risk_coverage.svg go.")],
    annotations: Annotated[
        list[Path], typer.Argument(help="The gold file annotated by the teacher (.spacy), one for each kind.")
    ],
    task: Annotated[Optional[TaskName], typer.Option(help="Which, if the docs have both.")] = None,
    text_field: Annotated[str, typer.Option(help="The gold file's field with the text.")] = "text",
    id_field: Annotated[str, typer.Option(help="Its field with the id.")] = "id",
    group_field: Annotated[str, typer.Option(help="Its field with what belongs together.")] = "group",
    gold_field: Annotated[str, typer.Option(help="Its field with the gold label or labels.")] = "gold",
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
) -> None:
    """Find out whether the teacher's confidence can be trusted, and whether to filter by it.

    Reads a gold file (100 texts are a beginning, 300 are better) and the same texts as `spacy-distill annotate` left
    them, once for each kind of confidence to compare: teacher configs whose task says `confidence = "logprob"`,
    `"votes"` or `"verbalised"`. The ledger keeps every reply, so that only what is new costs anything.

    For each kind it measures how well confidence tells right answers from wrong ones (AUROC, 0.5 for a coin), how far
    it is from the share of right answers (ECE), and the share of errors among the surest answers (the risk–coverage
    curve and the area under it, AURC). It recommends a kind, and thresholds for `configs/curation.cfg` if they would
    help a student on answers that they were not chosen on. Often they would not.

    Writes `OUTPUT_DIR/calibration.json` (every figure, no texts) and `OUTPUT_DIR/risk_coverage.svg` (to open in a
    browser), and prints the table.

    Example: `spacy-distill calibrate assets/gold.jsonl calibration annotations/logprob.spacy annotations/votes.spacy`

    Next: `spacy-distill annotate` with the kind recommended, then `spacy-distill curate`.
    """
    from ..evaluation.confidence_kinds import CURVES, FIGURES, calibrate_files

    found = calibrate_files(
        gold_file,
        output_dir,
        annotations,
        task=task,
        fields={"text_field": text_field, "id_field": id_field, "group_field": group_field, "gold_field": gold_field},
        seed=seed,
    )
    _print_table(found)
    for sentence in found.said:
        console.print(sentence)
    if lines := found.config():
        console.print('\nAdd "min_confidence" to `rules` in configs/curation.cfg, and have these lines there:\n')
        console.print(lines + "\n")
    console.print(f"Wrote {output_dir / FIGURES} and {output_dir / CURVES}")


def _print_table(found: Recommendation) -> None:
    table = Table(title=f"Confidence on {found.texts} texts", title_justify="left")
    table.add_column("annotations")
    table.add_column("kind")
    for name in ("answers", "right", "AUROC (95 %)", "ECE", "AURC (95 %)", "≥ 0.9"):
        table.add_column(name, justify="right")
    for kind in found.kinds:
        table.add_row(
            kind.name,
            kind.kind,
            str(kind.answers),
            f"{100 * kind.accuracy.value:.1f} %",
            "–" if kind.auroc is None else _cell(kind.auroc),
            f"{kind.ece:.3f}",
            _cell(kind.aurc),
            f"{100 * kind.high:.0f} %",
        )
    console.print(table)


def _cell(found: Interval) -> str:
    return f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})"

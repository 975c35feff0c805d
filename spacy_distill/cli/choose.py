"""`spacy-distill choose`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from .common import console, progress

if TYPE_CHECKING:
    from confection import Config

    from ..teacher.choose import Choice


def choose(
    config: Annotated[Path, typer.Argument(help="Teacher config with a TextCat.v1 task and a Local.v1 model.")],
    gold: Annotated[Path, typer.Argument(help="Texts labelled by people, not those you will test on.")],
    output: Annotated[Path, typer.Argument(help="Where the chosen teacher config goes: a .cfg file.")],
    candidates: Annotated[
        Optional[Path], typer.Option(help="Prompts to try, a config (see above). Default: the teacher's own prompt.")
    ] = None,
    unlabelled: Annotated[
        Optional[Path], typer.Option(help="Texts the batch calibrations learn from. Default: the gold texts.")
    ] = None,
    unlabelled_count: Annotated[int, typer.Option(help="How many of them, drawn at random.", min=1)] = 200,
    ledger: Annotated[
        Optional[Path], typer.Option(help="File that keeps every reply, where a second run and `annotate` find them.")
    ] = Path("annotations/ledger.sqlite"),
    text_field: Annotated[str, typer.Option(help="Field with the text.")] = "text",
    id_field: Annotated[str, typer.Option(help="Field with the id, if there is one.")] = "id",
    group_field: Annotated[str, typer.Option(help="Field whose texts are held out with an example.")] = "group",
    gold_field: Annotated[str, typer.Option(help="Field with the label.")] = "gold",
) -> None:
    """Choose a local teacher's prompt, examples and calibration on a few gold texts.

    None wins everywhere, so try them. Reads a teacher **config**, a small **gold** file (100 texts are a beginning,
    300 are better) and a config of **candidates**: settings of the task that each prompt changes, how many examples to
    show, and which calibrations to try:

        [search]
        shots = [0, 8, 16]
        calibrations = ["none", "content_free", "batch", "prior"]

        [candidates]

        [candidates.plain]
        instruction = "Classify the sentiment of each product review."
        noun = "Review"
        question = "Sentiment"

        [candidates.cloze]
        template = "configs/cloze.jinja"

        [candidates.cloze.words]
        positive = "great"
        negative = "terrible"

    Examples are drawn from the gold texts and held out. Prints a table with the winner marked; writes the winner as a
    complete teacher config to **output**, and every figure beside it (`.json`). The winner was picked on these very
    texts, so its figures are a little rosy: `evaluate` tells the truth.

    Example: `spacy-distill choose configs/teacher.cfg assets/gold_sample.jsonl configs/chosen.cfg
    --candidates configs/candidates.cfg`

    Next: `spacy-distill annotate` with the chosen config.
    """
    import random

    from ..files import describe_file, write_json
    from ..teacher.choose import Search
    from ..teacher.choose import choose as run
    from ..texts import read_texts

    teacher = _read(config)
    search = Search.of(_read(candidates).interpolate() if candidates else {})
    beside = [] if unlabelled is None else [unlabelled]
    fields: dict[str, Any] = {"text_field": text_field, "id_field": id_field, "group_field": group_field}
    texts = list(read_texts(gold, beside, gold_field=gold_field, need_gold=True, **fields))
    pool = list(read_texts(unlabelled, [gold], **fields)) if unlabelled else []
    pool = random.Random(search.seed).sample(pool, min(unlabelled_count, len(pool)))
    with progress("Scoring prompts", search.prompts(len(texts) + len(pool))) as advance:
        choice = run(teacher, search, texts, unlabelled=pool, ledger=ledger, progress=advance)
    output.parent.mkdir(parents=True, exist_ok=True)
    choice.config.to_disk(output, interpolate=False)
    write_json(output.with_suffix(".json"), {**choice.to_dict(), "gold": describe_file(gold), "seed": search.seed})
    _show(choice)
    console.print(f"Wrote {output} and {output.with_suffix('.json')}")


def _read(path: Path) -> "Config":
    from spacy.util import load_config

    from ..errors import ConfigError

    try:
        return load_config(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} does not load as a config. {str(error).strip()}") from error


def _show(choice: "Choice") -> None:
    from rich.table import Table

    from ..teacher.trials import RULE

    best = choice.best
    table = Table(title=f"{choice.model} on {best.texts} gold texts", title_justify="left")
    table.add_column("prompt", no_wrap=True)
    for column in ("shots", "calibration", "accuracy (95 %)", "macro F1", "surer half", "ECE"):
        table.add_column(column, justify="left" if column == "calibration" else "right", no_wrap=True)
    for trial in choice.trials:
        mark, style = ("▶ ", "bold") if trial is best else ("  ", None)
        table.add_row(
            f"{mark}{trial.candidate}",
            str(trial.shots),
            trial.calibration,
            f"{trial.accuracy:.3f} ({trial.low:.2f}–{trial.high:.2f})",
            f"{trial.macro_f1:.3f}",
            f"{trial.confident_half:.3f}",
            f"{trial.ece:.3f}",
            style=style,
        )
    console.print(table)
    console.print("surer half: accuracy of the half it is surest of. Log-loss and speed are in the JSON.")
    for prompt, reason in choice.skipped.items():
        console.print(f"Not tried: {prompt}: {reason}")
    console.print(
        f"Chosen: {best.candidate}, {best.shots} shots, {best.calibration}: accuracy {best.accuracy:.3f}"
        f" ({best.low:.3f}–{best.high:.3f}), temperature {best.temperature:.2f}."
    )
    console.print(f"Rule: {RULE}")

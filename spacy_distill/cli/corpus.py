"""`spacy-distill corpus`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.table import Table

from ..types import TaskName
from .common import blank, console

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..corpus.build import Corpus
    from ..corpus.manifest import Manifest


def corpus(
    curated: Annotated[Path, typer.Argument(help="What `curate` wrote: its directory, or a .spacy file of docs.")],
    output_dir: Annotated[Path, typer.Argument(help="Where the corpus goes.")] = Path("corpus"),
    dev_share: Annotated[float, typer.Option(help="How much of it is for dev, between 0 and 1.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
    splits: Annotated[
        int, typer.Option(help="Divide it so often, for `sweep` to compare on more texts than one dev has.", min=1)
    ] = 3,
    gold_dev: Annotated[
        Optional[Path], typer.Option(help="Gold to use as dev; all curated docs then go to train.")
    ] = None,
    hard: Annotated[bool, typer.Option(help="Train on the best label alone, not on the probabilities.")] = False,
    temperature: Annotated[
        float, typer.Option(help="Above 1 flattens train's probabilities of classes, below sharpens them.")
    ] = 1.0,
    oversample: Annotated[
        int, typer.Option(help="Repeat texts in train until each label has so many. 0: no copies.")
    ] = 0,
    confidence: Annotated[
        bool, typer.Option("--confidence", help='Keep how sure the teacher was, for weight = "confidence".')
    ] = False,
    task: Annotated[Optional[TaskName], typer.Option(help="Which, if the docs have both.")] = None,
    lang: Annotated[str, typer.Option(help="Language of the texts, to tokenize --gold-dev.")] = "en",
    text_field: Annotated[str, typer.Option(help="Field with the text in --gold-dev.")] = "text",
    group_field: Annotated[str, typer.Option(help="Field with the group in --gold-dev.")] = "group",
    gold_field: Annotated[str, typer.Option(help="Field with the gold in --gold-dev.")] = "gold",
) -> None:
    """Make the files that `spacy train` reads.

    Reads curated docs; writes `train.spacy`, `dev.spacy`, `labels.json` (for `[initialize]`) and `manifest.json`. Texts
    of one group, and near-duplicates, are never on both sides; labels keep their proportions. Train keeps the
    teacher's probabilities as targets, dev has hard labels. The same input and seed give the same files.

    One dev of a few hundred texts tells students apart badly. So there are further splits of the same docs, in folders
    `split-1`, `split-2` with the same files: `sweep` trains each seed on its own. **--splits** 1, or **--gold-dev**:
    none.

    **--oversample** 100 repeats texts of labels with fewer than 100 in train; `manifest.json` counts the copies. The
    student configs weigh rare classes already (`balance`), and count copies as texts: use one of the two. Class weights
    gained more in our measurements; entities have none.

    **--confidence** is for students that weigh texts by it (`weight = "confidence"` in the component), best with
    **--hard**: probabilities hold the doubt already. spaCy takes several times as long to read such a corpus.

    Example: `spacy-distill corpus curated corpus --dev-share 0.15 --seed 0`

    Next: `spacy train configs/textcat_fast.cfg --output training/fast`.
    """
    import srsly

    from ..corpus.build import DEV, LABELS, TRAIN, build
    from ..corpus.manifest import MANIFEST
    from ..curation.write import BOOKS, KEPT
    from ..docs import read_annotated
    from ..errors import ConfigError
    from ..files import describe_file
    from ..texts import gold_annotations, read_texts

    path = curated / KEPT if curated.is_dir() else curated
    nlp = blank(lang)
    docs, records = read_annotated(path, nlp.vocab, task)
    if confidence and records[0].task != "textcat":
        raise ConfigError("--confidence is of classes; entities are not weighed by it. Leave it out.")
    sources = {"curated": describe_file(path)}
    books = curated / BOOKS if curated.is_dir() else None
    gold = None
    if gold_dev is not None:
        sources["gold_dev"] = describe_file(gold_dev)
        fields = {"text_field": text_field, "group_field": group_field, "gold_field": gold_field}
        texts = read_texts(gold_dev, need_gold=True, **fields)
        first = records[0]
        gold = gold_annotations(texts, first.task, labels=first.labels, exclusive=first.exclusive)
    rules = srsly.read_json(books)["rules"] if books and books.is_file() else None

    def divided(number: int) -> Corpus:
        return build(
            docs,
            records,
            dev_share=dev_share,
            seed=seed + number,
            soft=not hard,
            temperature=temperature,
            oversample=oversample,
            gold_dev=gold,
            nlp=nlp,
            sources=sources,
            curation=rules,
        )

    made = divided(0)
    made.write(output_dir, confidence=confidence)
    further = _divide_further(divided, made, output_dir, splits if gold is None else 1, confidence=confidence)
    _print_manifest(made.manifest)
    console.print(f"Wrote {', '.join(str(output_dir / name) for name in (TRAIN, DEV, LABELS, MANIFEST))}")
    if further:
        times = f"{further} time{'s' if further > 1 else ''}"
        console.print(f"Divided {times} more, for `sweep`: {', '.join(f'split-{i + 1}' for i in range(further))}")
    if made.manifest.repeated:
        named = ", ".join(f"{label} ({count})" for label, count in made.manifest.repeated.items())
        classes = made.manifest.task == "textcat"
        advice = " Set balance = 0 in the student's component: it would weigh these labels too." if classes else ""
        console.print(f"Repeated in train: {named}.{advice}")
    if made.manifest.unseen_labels:
        named = ", ".join(made.manifest.unseen_labels)
        console.print(f"Without one example in train, so never predicted: {named}", style="yellow")


def _divide_further(
    divided: Callable[[int], Corpus], made: Corpus, output_dir: Path, splits: int, *, confidence: bool
) -> int:
    """Write the splits beside the corpus's own, as far as they can be had: groups stay whole, and there may be few.

    RETURNS (int): How many.
    """
    from ..corpus.splits import split_folder
    from ..errors import StageError

    written = 0
    devs = [{doc.text for doc in made.dev}]
    for number in range(1, splits):
        try:
            other = divided(number)
        except StageError:
            continue
        if (dev := {doc.text for doc in other.dev}) not in devs:
            written += 1
            devs.append(dev)
            other.write(split_folder(output_dir, written), confidence=confidence)
    if written < splits - 1:
        console.print(f"{splits - 1 - written} further splits would have nothing in dev, or the same again: left out.")
    return written


def _print_manifest(manifest: Manifest) -> None:
    teachers = "people's and the teacher's" if manifest.dev.gold else "the teacher's"
    whose = "people's" if manifest.dev_from == "gold" else teachers
    table = Table(title=f"Corpus for {manifest.task}, dev from {whose} labels", title_justify="left")
    table.add_column("label")
    table.add_column("train", justify="right")
    table.add_column("dev", justify="right")
    for label in manifest.labels:
        table.add_row(label, str(manifest.train.labels.get(label, 0)), str(manifest.dev.labels.get(label, 0)))
    table.add_section()
    table.add_row("texts", str(manifest.train.docs), str(manifest.dev.docs))
    if manifest.train.gold or manifest.dev.gold:
        table.add_row("decided by people", str(manifest.train.gold), str(manifest.dev.gold))
    console.print(table)

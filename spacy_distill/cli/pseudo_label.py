"""`spacy-distill pseudo-label`"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .common import NO_GOLD, console, progress, read_gold


def pseudo_label(
    model: Annotated[Path, typer.Argument(help="The large student, such as training/tuned/model-best.")],
    texts: Annotated[Path, typer.Argument(help="Unlabelled texts; those that the corpus has may be among them.")],
    corpus: Annotated[Path, typer.Argument(help="The corpus that the large student was trained on.")],
    output_dir: Annotated[Path, typer.Argument(help="Where the larger corpus goes.")],
    gold: Annotated[Optional[list[Path]], typer.Option(help="Gold that must not be trained on; repeat it.")] = None,
    text_field: Annotated[str, typer.Option(help="Field with the text.")] = "text",
    group_field: Annotated[str, typer.Option(help="Field whose texts stay together.")] = "group",
) -> None:
    """Let a large student label the rest, for a small one to learn from.

    Reads a trained pipeline, **texts** that no teacher was asked about, and the **corpus** the pipeline learned from;
    writes a corpus whose train has those texts too, with the pipeline's probabilities or entities. Dev stays as it is.
    Texts that are in dev or in --gold, or nearly, are left out.

    It costs no money, and pays where the large student is much the better of the two, and the texts are many: with
    1,000 labels from people for six emotions, 15,000 tweets labelled by `textcat_tuned` took `textcat_accurate` from
    72 % to 85 %, three points above its teacher (`python -m benchmarks.pseudo_labels`); with 500 labelled sentences
    about restaurants `ner_tuned` took `ner` from an F of .54 to .69 (`python -m benchmarks.entity_tiers`). So the
    language model may label a part of the texts, `annotate --limit 1000`, and a student the rest. Compare on dev.

    Example: `spacy-distill pseudo-label training/tuned/model-best assets/texts.jsonl corpus corpus_large
    --gold assets/gold.jsonl`

    Next: `spacy train configs/textcat_accurate.cfg --output training/accurate --paths.train corpus_large/train.spacy`
    """
    from ..docs import confidence_of
    from ..errors import ConfigError
    from ..evaluation.run import load
    from ..students.pseudo_labels import pseudo_label as label
    from ..texts import read_texts

    if output_dir.resolve() == corpus.resolve():
        raise ConfigError(f"{output_dir} is the corpus itself: name another folder for the larger one.")
    fields = {"text_field": text_field, "group_field": group_field}
    gold = gold or []
    asked = list(read_texts(texts, gold, need_gold=False, **fields))
    kept_out = read_gold(gold, [texts], **fields)
    with progress("Labelling", len(asked)) as advance:
        made = label(load(model), corpus, asked, gold=kept_out, progress=advance)
    made.corpus.write(output_dir, confidence=any(confidence_of(doc) is not None for doc in made.corpus.train))
    console.print(
        f"Wrote {output_dir}: of {made.given:,} texts {made.added:,} were added to train, {made.known:,} it had or were"
        f" there twice, {made.leaking:,} are too near to dev or gold. Train: {made.corpus.manifest.train.docs:,} texts."
    )
    if not gold:
        console.print(NO_GOLD)

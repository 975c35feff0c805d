"""`spacy-distill release`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .common import console


def release(
    model: Annotated[Path, typer.Argument(help="The trained pipeline, such as training/fast/model-best.")],
    output_dir: Annotated[Path, typer.Argument(help="Where the package and its wheel go.")],
    name: Annotated[str, typer.Option(help="The package's name, such as reviews_small.")],
    version: Annotated[str, typer.Option(help="Its version.")] = "0.1.0",
    evaluation: Annotated[Optional[Path], typer.Option(help="evaluation.json about this model, for its card.")] = None,
    manifest: Annotated[Optional[Path], typer.Option(help="The corpus's manifest.json: who labelled it.")] = None,
    description: Annotated[str, typer.Option(help="One sentence on what it does.")] = "",
    license: Annotated[str, typer.Option(help="Its license, as it is to stand in the package.")] = "",
) -> None:
    """Turn a trained student into a wheel that needs spaCy and nothing else.

    Reads a trained pipeline. Writes a copy of it whose components are spaCy's own (`soft_textcat` becomes `textcat`) or
    run by one Python file that the wheel carries, and whose config names no path of this machine; loads it in a process
    without spacy-distill and compares its answers with the trained pipeline's; writes a model card with the figures
    from evaluation.json and a wheel.

    Writes `OUTPUT_DIR/LANG_NAME-VERSION/dist/*.whl`, and `OUTPUT_DIR/frozen`, the pipeline in it. Of the training texts
    nothing is left but the weights, unless a component needs the list of words, as a tagger does: that is said.

    Example: `spacy-distill release training/fast/model-best packages --name reviews_small --version 1.0.0
    --evaluation evaluation/evaluation.json --manifest corpus/manifest.json`

    Next: install the wheel wherever texts are to be labelled.
    """
    from ..release.release import release as make_release

    made = make_release(
        model,
        output_dir,
        name=name,
        version=version,
        evaluation=evaluation,
        manifest=manifest,
        description=description,
        license=license,
    )
    if made.needing_words:
        console.print(
            f"The wheel has the list of words seen in training: {', '.join(made.needing_words)} may need it. If those"
            " words are nobody's business, remove the component first."
        )
    for line in (
        f"{made.wheel}  ({made.size_mb:.1f} MB; answers as the trained pipeline does on {made.checked} texts)",
        "",
        f"  pip install {made.wheel}",
        f'  nlp = spacy.load("{made.package}")',
        '  doc = nlp("Your text")',
    ):
        console.print(line)

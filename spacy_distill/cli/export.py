"""`spacy-distill export`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..formats.types import FormatName
from ..types import TaskName
from .common import blank, console, print_aside


def export(
    annotations: Annotated[Path, typer.Argument(help="Annotated docs from `annotate`, `import` or `curate` (.spacy).")],
    output: Annotated[Path, typer.Argument(help="The file to write; for --format datasets, a directory.")],
    format_: Annotated[FormatName, typer.Option("--format", help="Whose form.")],
    task: Annotated[Optional[TaskName], typer.Option(help="Which, if the docs have both.")] = None,
    lang: Annotated[str, typer.Option(help="Language of the texts, to tokenize them for CoNLL.")] = "en",
    config: Annotated[
        Optional[Path], typer.Option(help="Teacher config with the prompt, for --format openai-finetune.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over an output that is there; what was in it stays, as NAME~.")
    ] = False,
) -> None:
    """Write annotations in another tool's form, for people to check or for another program to use.

    Reads annotated docs; writes one file: tasks for **prodigy** (JSONL), **label-studio** (JSON) or **argilla**
    (records as JSON), in which the teacher's answers are suggestions and gold is answered already; a table as **csv**
    or Hugging Face **datasets** with an empty column `gold` for people to fill; **conll** (IOB2); or
    **openai-finetune**, chat JSONL with the prompts of a teacher **config**. All but the last can be imported again,
    with scores, groups and provenance. What a form cannot hold is set aside, counted and named. An output that is there
    may have people's answers: it is not written over, unless it would stay as it is, or with --force.

    Example: `spacy-distill export annotations/pool.spacy review.jsonl --format prodigy`

    Next: let people check it; then `spacy-distill import` with the same --format.
    """
    from spacy_llm.pipeline import LLMWrapper

    from ..annotate import load_teacher
    from ..docs import read_annotations
    from ..errors import ConfigError, counted
    from ..files import keep_old
    from ..formats.registry import holds_other, write
    from ..formats.types import Tools
    from ..tasks.base import Task
    from ..teacher.base import TeacherModel

    if output.exists() and annotations.exists() and output.samefile(annotations):
        raise ConfigError(f"{output} is the file that is read. Name another output.")
    nlp = blank(lang)
    records = read_annotations(annotations, nlp.vocab, task)
    teacher, system = None, None
    if config is not None:
        components = [part for _, part in load_teacher(config).pipeline if isinstance(part, LLMWrapper)]
        for component in components:
            if isinstance(component.task, Task) and component.task.task == records[0].task:
                teacher, model = component.task, component._model
                system = model.params.get("system") if isinstance(model, TeacherModel) else None
        if teacher is None:
            raise ConfigError(f"{config} has no task of ours for {records[0].task}.")
    tools = Tools(nlp, teacher, system)
    kept = None
    if holds_other(records, output, format_, tools):
        if not force:
            raise ConfigError(
                f"{output} exists, and has something else than would be written, such as people's answers. Name another"
                f" output, or write over it with --force: what is in it then stays beside it."
            )
        kept = keep_old(output)
    aside = write(records, output, format_, tools)
    console.print(f"{counted(len(records), 'record')}: {len(records) - len(aside)} written.")
    print_aside(aside)
    console.print(f"Wrote {output}")
    if kept is not None:
        console.print(f"What was in it stands in {kept}.")

"""`spacy-distill init`"""

import re
from pathlib import Path
from typing import Annotated, Optional

import typer

from .common import console

TEMPLATE = Path(__file__).parent / "template"
STUDENTS = {"textcat": "textcat_accurate", "textcat_multilabel": "textcat_multilabel", "ner": "ner"}


def init(
    folder: Annotated[Path, typer.Argument(help="The project's folder; made if it does not exist.")],
    label: Annotated[list[str], typer.Option(help="A label; repeat it for each.")],
    texts: Annotated[Path, typer.Option(help="Your unlabelled texts; copied into the project's assets.")],
    gold: Annotated[
        Optional[Path], typer.Option(help="Texts labelled by people, field `gold`; copied into the assets.")
    ] = None,
    task: Annotated[str, typer.Option(help="textcat, textcat_multilabel or ner.")] = "textcat",
    teacher: Annotated[str, typer.Option(help="chat (a server) or local (inside the process).")] = "chat",
    model: Annotated[str, typer.Option(help="Its name on the server; local: folder, GGUF file or hub name.")] = "",
    endpoint: Annotated[str, typer.Option(help="chat: the server's base URL.")] = "http://127.0.0.1:11434/v1",
    key_env: Annotated[Optional[str], typer.Option(help="chat: environment variable with the API key.")] = None,
    lang: Annotated[str, typer.Option(help="Language of the texts, a spaCy code.")] = "en",
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
) -> None:
    """Scaffold a project for your own labels and texts.

    Writes `project.yml` (the stages, for `spacy project run`), `configs/` (teacher, curation, students) and copies
    your texts and gold to `assets/`. The default teacher is a server on this machine, such as Ollama.

    Example: `spacy-distill init tickets --label bug --label question --texts tickets.jsonl --model llama3.1`

    Next: `cd` into the folder; `python -m spacy project run preview`, then `python -m spacy project run all`.
    """
    import json
    import shutil

    import jinja2

    from ..errors import ConfigError
    from ..texts import check_labels, gold_annotations, read_texts

    if task not in STUDENTS:
        raise ConfigError(f"--task {task!r}: expected one of {', '.join(STUDENTS)}.")
    if teacher not in ("chat", "local"):
        raise ConfigError(f"--teacher {teacher!r}: expected chat or local.")
    if not model:
        raise ConfigError("Name the teacher's model with --model, for example --model llama3.1")
    labels = check_labels(label)
    count = sum(1 for _ in read_texts(texts))
    if gold is not None:
        gold_annotations(
            read_texts(gold), "ner" if task == "ner" else "textcat", labels=labels, exclusive=task == "textcat"
        )
    settings = {
        "title": f"{folder.resolve().name}: a student for {len(labels)} labels",
        "description": f"{task} with the labels {', '.join(labels)}",
        "name": package_name(folder.resolve().name),
        "lang": lang,
        "labels": list(labels),
        "task": task,
        "teacher": teacher,
        "model": model,
        "endpoint": endpoint,
        "key_env": key_env,
        "texts": f"assets/texts{texts.suffix}",
        "gold": f"assets/gold{gold.suffix if gold else '.jsonl'}",
        "has_gold": gold is not None,
        "student": STUDENTS[task],
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE), keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    files: dict[Path, str] = {
        folder / "project.yml": environment.get_template("project.yml.jinja").render(settings),
        folder / "configs" / "teacher.cfg": environment.get_template("teacher.cfg.jinja").render(settings),
    }
    for name in ("curation", STUDENTS[task], *(["textcat_fast"] if task == "textcat" else [])):
        files[folder / "configs" / f"{name}.cfg"] = (TEMPLATE / "configs" / f"{name}.cfg").read_text(encoding="utf8")
    copies = {folder / str(settings["texts"]): texts}
    if gold is not None:
        copies[folder / str(settings["gold"])] = gold
    copies = {target: source for target, source in copies.items() if not (target.exists() and target.samefile(source))}
    present = [str(path) for path in (*files, *copies) if path.exists()]
    if present and not force:
        raise ConfigError(f"{', '.join(present)} exists. Choose another folder, or write over it with --force.")
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf8")
    for target, source in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    console.print(f"Made {folder}: {count} texts, {len(labels)} labels, teacher {model}.")
    console.print(f"Next:\n  cd {folder}\n  python -m spacy project run preview\n  python -m spacy project run all")
    if gold is None:
        console.print("Without --gold there is nothing to measure against: label 100 texts yourself.")


def package_name(folder: str) -> str:
    """RETURNS (str): A folder's name as `release` takes it: small letters, digits and single underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.lower()).strip("_")
    return name if name[:1].isalpha() else f"student_{name}".rstrip("_")

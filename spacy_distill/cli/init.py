"""`spacy-distill init`"""

import re
import unicodedata
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from .common import blank, console
from .import_ import check_form, labels_that_occur

TEMPLATE = Path(__file__).parent / "template"
STUDENTS = {
    "textcat": (
        *("textcat_tiny", "textcat_tiny_vectors", "textcat_accurate"),
        *("textcat_fast", "textcat_encoder", "textcat_tuned"),
    ),
    "textcat_multilabel": (
        *("textcat_tiny", "textcat_tiny_vectors", "textcat_multilabel"),
        *("textcat_encoder", "textcat_tuned"),
    ),
    "ner": ("ner", "ner_tuned"),
}
"""Configs of `spacy train` for each task: `project run train` takes the first, `project run sweep` tries all."""
_TOKENIZER = '[nlp.tokenizer]\n@tokenizers = "spacy.Tokenizer.v1"'
_LOCAL = "http://127.0.0.1:11434/v1"
_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


def init(
    folder: Annotated[Path, typer.Argument(help="The project's folder; made if it does not exist.")],
    texts: Annotated[Path, typer.Option(help="Your unlabelled texts; copied into the project's assets.")],
    label: Annotated[Optional[list[str]], typer.Option(help="A label; repeat it for each.")] = None,
    label_field: Annotated[
        Optional[str],
        typer.Option(help="The texts are labelled already, in this field: no teacher is asked, --label is optional."),
    ] = None,
    by_people: Annotated[
        bool, typer.Option("--by-people", help="With --label-field: people gave these labels, no model did.")
    ] = False,
    gold: Annotated[
        Optional[Path], typer.Option(help="Texts labelled by people, field `gold`; copied into the assets.")
    ] = None,
    task: Annotated[
        Literal["textcat", "textcat_multilabel", "ner"], typer.Option(help="One label a text, several, or entities.")
    ] = "textcat",
    teacher: Annotated[Literal["chat", "local"], typer.Option(help="A server, or inside the process.")] = "chat",
    model: Annotated[str, typer.Option(help="Its name on the server; local: folder, GGUF file or hub name.")] = "",
    endpoint: Annotated[str, typer.Option(help="chat: the server's base URL.")] = _LOCAL,
    key_env: Annotated[Optional[str], typer.Option(help="chat: environment variable with the API key.")] = None,
    lang: Annotated[str, typer.Option(help="Language of the texts, a spaCy code.")] = "en",
    force: Annotated[
        bool, typer.Option("--force", help="Write over files that are there; what was in them stays, as NAME~.")
    ] = False,
) -> None:
    """Scaffold a project for your own labels and texts.

    Reads your texts and gold once, to find mistakes now and not later. Writes `project.yml` (the stages, for `spacy
    project run`), `configs/` (teacher, curation, students) and copies of texts and gold in `assets/`. The default
    teacher is a server on this machine, such as Ollama.

    Example: `spacy-distill init tickets --label bug --label question --texts tickets.jsonl --model llama3.1`; or, from
    labels that a language model gave elsewhere, `spacy-distill init tickets --texts labelled.jsonl --label-field label`

    Next: `cd` into the folder; `python -m spacy project run preview`, then `python -m spacy project run all`.
    """
    import json
    import shlex
    import shutil

    import jinja2
    from thinc.api import Config

    from ..errors import ConfigError, InputError
    from ..files import keep_old
    from ..teacher.chat import check_endpoint, check_key_env
    from ..texts import check_labels, gold_annotations, read_texts

    if label_field is not None:
        of_teacher = {"--teacher": teacher != "chat", "--model": model, "--endpoint": endpoint != _LOCAL}
        if given := [name for name, value in {**of_teacher, "--key-env": key_env}.items() if value]:
            raise ConfigError(f"With --label-field the texts are labelled already: leave {', '.join(given)} out.")
        check_form(texts, label_field, task, "Choose --task")
        label = label or labels_that_occur(texts, label_field, "Name the field with --label-field.")
    elif by_people:
        raise ConfigError("--by-people says who gave the labels that the texts have: name their field, --label-field.")
    elif not model:
        raise ConfigError(
            "Name the teacher's model with --model, for example --model llama3.1, or the field in which your texts have"
            " labels already with --label-field."
        )
    check_key_env(key_env)
    if teacher == "chat":
        check_endpoint(endpoint)
    elif Path(model).exists():
        model = Path(model).resolve().as_posix()  # The project runs in its own folder.
    if not label:
        raise ConfigError("Name the labels with --label, once for each.")
    labels = check_labels(label)
    for name in (*labels, model, endpoint, label_field or ""):
        if "${" in name:
            raise ConfigError(f"{name!r}: a spaCy config takes ${{…}} for a reference. Write it without.")
    if task == "textcat" and len(labels) < 2:
        raise ConfigError(
            f"There is one label, {labels[0]!r}, and each text has exactly one: nothing to learn. Repeat --label for"
            " each, or choose --task textcat_multilabel."
        )
    section = Config({"nlp": {"tokenizer": blank(lang).config["nlp"]["tokenizer"]}}).to_str()
    tokenizer = section[section.index("[nlp.tokenizer]") :]
    try:
        count = sum(1 for _ in read_texts(texts))
        if not count:
            raise InputError(f"{texts} has no texts.")
        if gold is not None:
            gold_annotations(
                read_texts(gold), "ner" if task == "ner" else "textcat", labels=labels, exclusive=task == "textcat"
            )
    except InputError as error:
        if "Name the field" not in str(error):
            raise
        what = str(error).partition(" Name the field")[0]
        raise InputError(f"{what} A project's files have the fields `text` and `gold`: rename other ones.") from error
    options = ["--label-field", label_field or "", *(part for name in labels for part in ("--label", name))]
    options += [] if lang == "en" else ["--lang", lang]
    options += {"textcat": [], "textcat_multilabel": ["--multi-label"], "ner": ["--task", "ner"]}[task]
    options += ["--gold"] if by_people else []
    settings = {
        "title": f"{folder.resolve().name}: a student for {len(labels)} labels",
        "description": f"{task} with the labels {', '.join(labels)}",
        "name": _package_name(folder.resolve().name),
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
        "teacher_on_gold": gold is not None and (label_field is None or _has_answers(gold, label_field)),
        "label_field": label_field,
        "first": "annotate" if label_field is None else "import",
        "import_options": shlex.join(options),
        "student": STUDENTS[task][0],
        "encoder": _ENCODER,
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE), keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    files: dict[Path, str] = {
        folder / "project.yml": environment.get_template("project.yml.jinja").render(settings),
    }
    if label_field is None:
        files[folder / "configs" / "teacher.cfg"] = environment.get_template("teacher.cfg.jinja").render(settings)
    for name in ("curation", *STUDENTS[task]):
        content = (TEMPLATE / "configs" / f"{name}.cfg").read_text(encoding="utf8")
        content = content.replace('\nlang = "en"\n', f'\nlang = "{lang}"\n').replace(_TOKENIZER, tokenizer)
        content = content.replace('\nencoder = "assets/encoder"\n', f'\nencoder = "{_ENCODER}"\n')
        if task == "textcat_multilabel":
            content = content.replace("\nexclusive = true\n", "\nexclusive = false\n")
        files[folder / "configs" / f"{name}.cfg"] = content
    copies = {
        folder / str(place): source
        for source, place in ((texts, settings["texts"]), (gold, settings["gold"]))
        if source is not None and not ((folder / str(place)).exists() and (folder / str(place)).samefile(source))
    }
    present = [str(path) for path in (*files, *copies) if path.exists()]
    if present and not force:
        raise ConfigError(f"{', '.join(present)} exists. Choose another folder, or write over it with --force.")
    new = {path: content.encode() for path, content in files.items()}
    new |= {target: source.read_bytes() for target, source in copies.items()}
    changed = [path for path, content in new.items() if path.exists() and path.read_bytes() != content]
    kept = [str(keep_old(path)) for path in changed]
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf8")
    for target, source in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    teaching = f"teacher {model}" if label_field is None else f"labelled in the field {label_field!r}"
    console.print(f"Made {folder}: {count} texts, {len(labels)} labels, {teaching}.")
    preview = "  python -m spacy project run preview\n" if label_field is None else ""
    console.print(f"Next:\n  cd {shlex.quote(str(folder))}\n{preview}  python -m spacy project run all")
    if kept:
        console.print(f"What was there before stands in {', '.join(kept)}.")
    if gold is None:
        console.print(
            "Without --gold there is nothing to measure against: label some 100 texts yourself, then run this command"
            " again with --gold FILE --force, and copy your changes back from the files that it kept."
        )


def _has_answers(path: Path, field: str) -> bool:
    """RETURNS (bool): Some record of the gold file has a value there too, other than the gold itself."""
    from ..records import read_records

    return field != "gold" and any(record.get(field) is not None for _, record in read_records(path))


def _package_name(folder: str) -> str:
    """RETURNS (str): A name that `release` takes, as close to the folder's as it can be."""
    plain = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return name if name[:1].isalpha() else f"student_{name}".strip("_")

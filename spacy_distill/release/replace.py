"""Put a trained student in the place of the LLM component that taught it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from thinc.api import Model

from ..errors import ConfigError
from ..evaluation.pipelines import Component, find_component
from ..types import TaskName


def replace(nlp: Language, name: str, student: Language | Path | str) -> Language:
    """Replace an LLM component by a trained student, so that the rest of the pipeline does not notice.

    The student's component takes the LLM component's name and its place in the order, and sets the same `doc.cats` keys
    or entity labels. It is a copy: the student itself stays as it is. Where a text may have several labels, the
    teacher's hold from .5 on; if the student's hold from another score on, as spaCy's own classifier's may, a warning
    says from which.

    nlp (Language): A pipeline with an LLM component, changed in place. On an error it is left as it was.
    name (str): The LLM component's name, such as "llm_textcat".
    student (Union[Language, Path, str]): The student's pipeline, or its path or installed package.
    RETURNS (Language): The same `nlp`.
    RAISES (ConfigError): No such component; other labels, another language, or word vectors that cannot be shared.
    """
    if name not in nlp.component_names:
        raise ConfigError(f"There is no component {name!r} in the pipeline [{', '.join(nlp.component_names)}].")
    trained = _copy(student) if isinstance(student, Language) else spacy.load(student)
    teacher = nlp.get_pipe(name)
    labels = tuple(getattr(teacher, "labels", ()))
    component = _find(trained, labels, name)
    _check_labels(name, labels, component)
    exclusive = getattr(getattr(teacher, "task", None), "exclusive", component.exclusive)
    if exclusive != component.exclusive:
        kinds = {True: "gives exactly one label a text", False: "gives any number of labels a text"}
        raise ConfigError(
            f"{name!r} {kinds[exclusive]}, the student {kinds[component.exclusive]}. Train one that agrees."
        )
    _check_language(nlp, trained)
    adopt = _check_vectors(nlp, trained, component.name)
    _own_tok2vec(trained, component.name)
    if adopt:
        nlp.vocab.vectors = trained.vocab.vectors
    if component.task == "textcat" and not component.exclusive and component.threshold != 0.5:
        warnings.warn(
            f"Labels of {name!r} held from .5 on; the student's hold from {component.threshold:g} on, which"
            f" nlp.get_pipe({name!r}).cfg['threshold'] says.",
            stacklevel=2,
        )
    place = nlp.component_names.index(name)
    disabled = name in nlp.disabled
    nlp.remove_pipe(name)
    after = place < len(nlp.component_names)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\[W113\]")  # vectors differ: checked above
        nlp.add_pipe(component.name, name=name, source=trained, **({"before": place} if after else {"last": True}))
    if disabled:
        nlp.disable_pipe(name)
    return nlp


def _copy(student: Language) -> Language:
    """RETURNS (Language): The same pipeline on a vocabulary of its own: a sourced component is not a copy."""
    config = student.config
    return type(student).from_config(config, meta=student.meta).from_bytes(student.to_bytes())


def _find(trained: Language, labels: Sequence[str], name: str) -> Component:
    """Find the student's component; where it does both tasks, the one that has the teacher's labels."""
    tasks: tuple[TaskName, ...] = ("textcat", "ner")
    found = []
    for task in tasks:
        try:
            found.append(find_component(trained, task))
        except ConfigError:
            continue
    if len(found) == 2:
        found = [component for component in found if set(component.labels) == set(labels)]
    if len(found) != 1:
        raise ConfigError(
            f"The student [{', '.join(trained.pipe_names)}] has no one component for the labels of {name!r}:"
            f" {', '.join(map(repr, labels))}."
        )
    return found[0]


def _check_labels(name: str, labels: Sequence[str], component: Component) -> None:
    lacking = [label for label in labels if label not in component.labels]
    extra = [label for label in component.labels if label not in labels]
    if labels and (lacking or extra):
        parts = [f"{name!r} also has {', '.join(map(repr, lacking))}"] if lacking else []
        parts += [f"the student also has {', '.join(map(repr, extra))}"] if extra else []
        raise ConfigError(
            f"{name!r} and the student's {component.name!r} have different labels: {'; '.join(parts)}."
            " Train the student on the labels of this component, or give the component the student's labels."
        )


def _check_language(nlp: Language, trained: Language) -> None:
    if nlp.lang != trained.lang:
        raise ConfigError(
            f"The pipeline's language is {nlp.lang!r}, the student's {trained.lang!r}: they split texts differently."
            f" Start from spacy.blank({trained.lang!r}), or train the student for {nlp.lang!r}."
        )
    ours, theirs = nlp.tokenizer, trained.tokenizer
    if hasattr(ours, "to_bytes") and hasattr(theirs, "to_bytes"):
        same = ours.to_bytes(exclude=["vocab"]) == theirs.to_bytes(exclude=["vocab"])
    else:
        same = type(ours) is type(theirs)
    if not same:
        warnings.warn(
            "The pipeline's tokenizer is not the one the student was trained with; its answers may differ. To be safe,"
            " set nlp.tokenizer to the student's before you replace the component.",
            UserWarning,
            stacklevel=3,
        )


def _check_vectors(nlp: Language, trained: Language, name: str) -> bool:
    """RETURNS (bool): Whether the pipeline has to adopt the student's word vectors."""
    vectors = trained.vocab.vectors
    if not len(vectors) or not _uses_vectors(trained, name) or nlp.vocab.vectors == vectors:
        return False
    if len(nlp.vocab.vectors):
        raise ConfigError(
            "The pipeline has other word vectors than the student, and a pipeline holds one table. Load the student"
            f" and add the rest to it: spacy.load(student).add_pipe(…, source=nlp); or train the student on"
            f" {nlp.vocab.vectors.name or 'the vectors of this pipeline'}."
        )
    return True


def _uses_vectors(nlp: Language, name: str) -> bool:
    """RETURNS (bool): Whether a component, or one it listens to, reads the table of word vectors."""
    models = [getattr(nlp.get_pipe(pipe), "model", None) for pipe in (name, *_listened_to(nlp, name))]
    return any(node.name == "static_vectors" for model in models if isinstance(model, Model) for node in model.walk())


def _listened_to(nlp: Language, name: str) -> list[str]:
    return [other for other, pipe in nlp.components if name in getattr(pipe, "listening_components", ())]


def _own_tok2vec(trained: Language, name: str) -> None:
    """Give a component that listens to a shared `tok2vec` its own copy of it, since that does not move along."""
    for source in _listened_to(trained, name):
        paths = list(_listeners(trained.get_pipe_config(name)["model"], "model"))
        trained.replace_listeners(source, name, paths)


def _listeners(section: Mapping[str, Any], where: str) -> list[str]:
    if "Listener" in str(section.get("@architectures", "")):
        return [where]
    return [
        path
        for key, value in section.items()
        if isinstance(value, Mapping)
        for path in _listeners(value, f"{where}.{key}")
    ]

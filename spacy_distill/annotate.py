"""Texts and a teacher pipeline in, annotated docs out: every reply through the ledger, no barrier between batches."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from confection import ConfigValidationError
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import load_config, load_model_from_config
from spacy_llm.pipeline import LLMWrapper
from spacy_llm.ty import ModelWithContextLength, supports_sharding

from .books import Books
from .docs import make_doc
from .errors import ConfigError, TeacherError
from .tasks.base import Task
from .tasks.foreign import parse_foreign
from .teacher.base import TeacherModel
from .teacher.budget import Budget
from .teacher.foreign import Foreign
from .teacher.ledger import Ledger
from .teacher.types import Reply
from .types import Text

_LOOK_AHEAD = 10_000
"""So many docs may wait for one before them whose reply takes long."""

_CHUNK = 1_000
"""Where several teachers label the same texts, they take turns after so many: see `annotate`."""


def load_teacher(config: Path, *, ledger: Path | None = None) -> Language:
    """Load a teacher pipeline from a spaCy config with one or more of spaCy-llm's components.

    config (Path): The file. Paths in it are relative to the working directory.
    ledger (Optional[Path]): Used by every model of ours whose config names no ledger.
    RETURNS (Language): The pipeline.
    RAISES (ConfigError): The config does not load, or has no LLM component.
    """
    if not config.is_file():
        raise ConfigError(f"{config} does not exist. `spacy-distill init` writes a teacher config to start from.")
    try:
        parsed = load_config(config)
        parsed.interpolate()
    except Exception as error:
        raise ConfigError(f"{config} cannot be read as a config{_where(str(error))}.") from None
    if "nlp" not in parsed:  # spaCy would show every value too.
        raise ConfigError(
            f"{config} is not a teacher config: it has no section [nlp]. `spacy-distill init` writes one to start from."
        )
    try:
        nlp = load_model_from_config(parsed, auto_fill=True)
    except ConfigValidationError as error:  # It would show every value, and somebody may have put a key there.
        brief = ConfigValidationError.from_error(error, show_config=False)
        raise ConfigError(f"{config} does not load as a spaCy config. {str(brief).strip()}") from None
    except Exception as error:
        raise ConfigError(f"{config} does not load as a spaCy config. {str(error).strip()}") from error
    components = [component for _, component in nlp.pipeline if isinstance(component, LLMWrapper)]
    if not components:
        raise ConfigError(
            f"{config} has no LLM component. Its pipeline is {nlp.pipe_names}; add llm_textcat or llm_ner."
        )
    for component in components:
        use_ledger(component, ledger)
    return nlp


def _where(said: str) -> str:
    """RETURNS (str): Where a config is wrong. What it says there is not repeated: somebody may have put a key there."""
    if lines := re.findall(r"\bline:? +(\d+)", said):
        return f": look at line {', '.join(lines)}"
    if option := re.search(r"option '([^']*)' in section '([^']*)'", said):
        return f": look at {option[1]!r} in [{option[2]}]"
    return ""


def use_ledger(component: LLMWrapper, ledger: Path | None) -> TeacherModel | None:
    """Give a component's model this ledger, unless its config names one.

    RETURNS (Optional[TeacherModel]): The model, if it is one of ours.
    """
    model = component._model
    if not isinstance(model, TeacherModel):
        return None
    if ledger is not None and model.ledger is None and model.costs:
        model.ledger = Ledger(ledger)
    return model


def use_batches(nlp: Language, *, wait: bool = True) -> None:
    """Have a pipeline's chat models answer by way of batch files, at half the price and within a day.

    wait (bool): Until every batch is done. Otherwise `annotate` raises PendingError, and collects when run again.
    RAISES (ConfigError): No model of the pipeline can, or one has no ledger.
    """
    from .teacher.chat import Chat

    models = [component._model for _, component in nlp.pipeline if isinstance(component, LLMWrapper)]
    chats = [model for model in models if isinstance(model, Chat)]
    if not chats:
        raise ConfigError("Batches need a model behind an API: spacy_distill.Chat.v1. The config has none.")
    for chat in chats:
        chat.use_batches(wait=wait)


def teachers(nlp: Language, *, ledger: Path | None = None) -> dict[str, TeacherModel]:
    """RETURNS (Dict[str, TeacherModel]): Name of an LLM component to its model. One that is none of ours is put behind
    the ledger like ours."""
    found = {}
    for name, component in nlp.pipeline:
        if isinstance(component, LLMWrapper):
            settings = cast(Any, nlp.config["components"][name].get("model", {}))
            found[name] = use_ledger(component, ledger) or Foreign(component._model, settings, ledger)
    return found


def annotate(
    nlp: Language,
    texts: Iterable[Text],
    *,
    ledger: Path | None = None,
    budget: Budget | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Iterator[Doc], Books]:
    """Label texts with a teacher pipeline.

    The same as `nlp.pipe`, but streamed: replies are committed to the ledger as they arrive, a text never waits for a
    batch, and memory does not grow with the number of texts. What the ledger has is not asked again. Nothing happens
    before the first doc is taken.

    Where several components are teachers, one after the other labels a thousand texts at a time, so that a budget
    that ends leaves few texts half labelled.

    nlp (Language): A pipeline with spaCy-llm components; other components run too, in their place.
    texts (Iterable[Text]): What to label. May be endless.
    ledger (Optional[Path]): For models whose config names none.
    budget (Optional[Budget]): What may be spent. Texts that it does not reach get the status "error"; the next run
        asks for them.
    progress (Optional[Callable[[int], None]]): Called with 1 for every text that a teacher has dealt with.
    RETURNS (Tuple[Iterator[Doc], Books]): The docs in the order of the texts, with all facts; and the books, which are
        complete when the last doc was taken.
    RAISES (ConfigError): There is a limit in money, and a model without a known price.
    RAISES (TeacherError): While docs are taken: the teacher cannot be used at all. What arrived is in the ledger.
    """
    models = teachers(nlp, ledger=ledger)
    for model in models.values():
        if budget is not None and budget.usd is not None and model.price is None:
            raise ConfigError(
                f"No price is known for {model.name} at {model.endpoint}, so no budget in USD can be kept. Put what a"
                " million tokens read and written cost into its section of the config, such as usd_per_million ="
                " [0.15, 0.6]; or set the budget in tokens."
            )
        model.budget = budget
    books = Books()
    return _annotate(nlp, texts, models, books, progress or (lambda _: None)), books


def _annotate(
    nlp: Language,
    texts: Iterable[Text],
    models: dict[str, TeacherModel],
    books: Books,
    progress: Callable[[int], None],
) -> Iterator[Doc]:
    start_s = time.perf_counter()
    several = len(models) > 1 and not any(model.all_at_once for model in models.values())
    for chunk in _chunks(texts) if several else [texts]:
        docs: Iterator[Doc] = (make_doc(nlp, text) for text in chunk)
        for name, component in nlp.pipeline:
            if isinstance(component, LLMWrapper):
                docs = _label(name, component, models[name], docs, books, progress)
                docs = iter(list(docs)) if several else docs
            else:
                docs = map(component, docs)
        for doc in docs:
            books.enter_doc(doc)
            books.elapsed_s = time.perf_counter() - start_s
            yield doc


def _chunks(texts: Iterable[Text]) -> Iterator[list[Text]]:
    remaining = iter(texts)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


@dataclass(slots=True)
class _Work:
    """A doc on its way: a reply for each of its prompts, and its parts if the task cut it up."""

    doc: Doc
    replies: list[Reply | None]
    shards: list[Doc] | None
    done: bool = False


def _label(
    name: str,
    component: LLMWrapper,
    model: TeacherModel,
    docs: Iterator[Doc],
    books: Books,
    progress: Callable[[int], None],
) -> Iterator[Doc]:
    """YIELDS (Doc): The docs in their order, with one component's annotations."""
    begun: deque[_Work] = deque()
    owners: dict[int, tuple[_Work, int]] = {}
    exhausted = False

    def prompts() -> Iterator[str]:
        """Ends early when too many docs wait for the first of them."""
        nonlocal exhausted
        number = 0
        while len(begun) < _LOOK_AHEAD or model.all_at_once:
            doc = next(docs, None)
            if doc is None:
                exhausted = True
                return
            asked, shards = render(component, doc)
            work = _Work(doc, [None] * len(asked), shards)
            begun.append(work)
            for position, prompt in enumerate(asked):
                owners[number] = work, position
                number += 1
                yield prompt

    while not exhausted:
        for number, reply in model.stream(prompts()):
            work, position = owners.pop(number)
            books.enter_reply(reply.meta, work.doc._.distill["id"])
            work.replies[position] = reply
            if all(item is not None for item in work.replies):
                work.doc = _parse(component, work.doc, cast("list[Reply]", work.replies), work.shards)
                work.done = True
                progress(1)
            while begun and begun[0].done:
                yield begun.popleft().doc
        if begun:
            lost = [work.doc._.distill["id"] for work in begun if not work.done]
            raise TeacherError(
                f"{name}: the model gave no answer, not even a failure, for {len(lost)} texts: {lost[:5]}."
            )


def render(component: LLMWrapper, doc: Doc) -> tuple[list[str], list[Doc] | None]:
    """Write a doc's prompts: one, or one for each part of a doc that the task cuts up to fit the model's window.

    RETURNS (Tuple[List[str], Optional[List[Doc]]]): The prompts, and the parts.
    """
    task = component.task
    if not supports_sharding(task):
        return list(task.generate_prompts([doc])), None
    model = component._model
    window = model.context_length if isinstance(model, ModelWithContextLength) else None
    ((rendered, parts),) = task.generate_prompts([doc], window)
    return list(rendered), list(parts)


def _parse(component: LLMWrapper, doc: Doc, replies: list[Reply], shards: list[Doc] | None) -> Doc:
    if isinstance(component.task, Task):
        return next(iter(component.task.parse_responses([[doc]], [replies])))
    return parse_foreign(component.task, component.labels, doc, replies, shards)

"""The constant parts of a task's prompts: one for most texts, others where a text must not see some example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ConfigError
from ..teacher.examples import Similarity, pick_examples
from ..texts import normal_form
from .templating import Template

Pick = Literal["diverse", "nearest"]
"""Which of many examples to show: `diverse`, the same for all texts, typical of their labels; `nearest`, those most
like each text."""


@dataclass(frozen=True, slots=True)
class Example:
    """A few-shot example.

    text (str): Its text.
    label (str): What it stands for, so that labels take turns.
    group (Optional[str]): See `Text.group`.
    shown (Mapping[str, Any]): What the template gets.
    """

    text: str
    label: str
    group: str | None
    shown: Mapping[str, Any]


class Frames:
    """What stands before and after a text.

    No text is shown an example that is the text itself, or one of its group: where examples come from gold and gold is
    annotated, the teacher would read its answers off the prompt.

    template (Template): Rendered with `variables` and, as `examples`, those to show.
    shots (Optional[int]): How many to show. None: all.
    pick (Pick): Which, if there are more. With "nearest" only the instruction is the same for all texts: a server's
        prefix cache holds that much, and an embedded model reads each text's examples anew.
    RAISES (ConfigError): Settings that cannot work.
    """

    def __init__(
        self,
        template: Template,
        variables: Mapping[str, Any],
        examples: Sequence[Example],
        shots: int | None,
        pick: Pick,
    ) -> None:
        if pick not in ("diverse", "nearest"):
            raise ConfigError(f'pick = {pick!r}: expected "diverse" or "nearest".')
        if shots is not None and (shots < 1 or not examples):
            raise ConfigError(f"shots = {shots} of {len(examples)} examples: name some, and show at least one.")
        if pick == "nearest" and shots is None:
            raise ConfigError('pick = "nearest" needs `shots`: how many of the examples a prompt is to show.')
        self._template = template
        self._variables = dict(variables)
        self._examples = list(examples)
        self._forms = [normal_form(example.text) for example in examples]
        self._shots = shots or len(self._examples)
        self._similarity = Similarity([example.text for example in examples]) if pick == "nearest" else None
        self._picked = list(range(len(self._examples)))
        if shots is not None and pick == "diverse":
            self._picked = pick_examples(
                [example.text for example in examples], [example.label for example in examples], shots
            )
        self._rendered: dict[tuple[int, ...], tuple[str, str]] = {}
        self.usual = self._cut(tuple(self._picked[: self._shots]))

    def of(self, text: str, group: str | None = None) -> tuple[str, str]:
        """RETURNS (Tuple[str, str]): What stands before this text, and what stands after it."""
        form = normal_form(text)
        allowed = [
            index
            for index in self._picked
            if self._forms[index] != form and (group is None or self._examples[index].group != group)
        ]
        if self._similarity is None:
            return self._cut(tuple(allowed))
        alike = self._similarity(text)
        nearest = sorted(allowed, key=lambda index: -alike[index])[: self._shots]
        return self._render(nearest[::-1])  # the nearest one last, beside the text

    def _cut(self, indices: tuple[int, ...]) -> tuple[str, str]:
        if indices not in self._rendered:
            self._rendered[indices] = self._render(indices)
        return self._rendered[indices]

    def _render(self, indices: Sequence[int]) -> tuple[str, str]:
        return self._template.cut({**self._variables, "examples": [self._examples[index].shown for index in indices]})

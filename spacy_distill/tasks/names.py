"""How a reply may say a label."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import ConfigError
from ..texts import normal_form

NONE = "none"
"""How a reply says that no label fits, or that there is nothing to find."""

OUTER = " \t\r\n\"'`*_“”‘’«»()[]{}<>.,;:!?-"
"""What may stand around a label without being part of it."""

_SIGNS = ("-", "<", ">")
"""But these are before a figure: -1 is not 1, and >50 is not 50."""


class Names:
    """The ways in which a reply may say each label.

    Exactly, else folded (case, spaces, Unicode form), else with `_`, `-` and spaces as one and without outer
    punctuation, but with a sign before a figure. A form that could mean two labels means neither.

    words (Mapping[str, str]): Label to how it is said.
    RAISES (ConfigError): Two labels are said alike, or one is not said at all.
    """

    def __init__(self, words: Mapping[str, str]) -> None:
        self._forms: tuple[dict[str, str | None], ...] = ({}, {}, {})
        for label, word in words.items():
            if not word.strip() or word != word.strip():
                raise ConfigError(f"The word {word!r} for {label!r} is empty or has space around it. Mend `words`.")
            for other, its_word in words.items():
                if other != label and normal_form(word) in (normal_form(its_word), normal_form(other)):
                    raise ConfigError(
                        f"The word {word!r} for the label {label!r} also means {other!r}. Change it in `words`."
                    )
        for label, word in words.items():
            for said in {label, word}:
                for forms, key in zip(self._forms, _foldings(said), strict=True):
                    if key:
                        forms[key] = label if forms.get(key, label) == label else None
        said_longest_first = sorted({*words, *words.values()}, key=len, reverse=True)
        flexible = (r"[\s_\-]+".join(map(re.escape, re.split(r"[\s_\-]+", said))) for said in said_longest_first)
        self._mention = re.compile(rf"(?<![\w\-])(?:{'|'.join(flexible)})(?![\w\-])", re.IGNORECASE)

    def find(self, said: str) -> str | None:
        """RETURNS (Optional[str]): The label this says, with nothing else; None if it says none."""
        for forms, key in zip(self._forms, _foldings(said), strict=True):
            if (label := forms.get(key)) is not None:
                return label
        return None

    def mentions(self, text: str) -> list[tuple[int, int, str]]:
        """RETURNS (List[Tuple[int, int, str]]): Start, end and label of every label in a text; longer names first."""
        found = ((match.start(), match.end(), self.find(match.group())) for match in self._mention.finditer(text))
        return [(start, end, label) for start, end, label in found if label is not None]

    def is_start_of_another(self, label: str, text: str) -> bool:
        """RETURNS (bool): Whether a text that was cut off after this label might have gone on to a longer one."""
        tail = normal_form(text)
        return any(
            other != label and other_form.startswith(form) and tail.endswith(form)
            for form, its_label in self._forms[1].items()
            if its_label == label
            for other_form, other in self._forms[1].items()
        )


def _foldings(said: str) -> tuple[str, str, str]:
    folded = normal_form(said)
    bare = folded.strip(OUTER)
    before = folded[: folded.find(bare)] if bare[:1].isdecimal() else ""
    sign = before[-1:].strip() or before.rstrip()[-1:].replace("-", "")  # "- 1" is a list's, "< 1" is not
    return said, folded, (sign if sign in _SIGNS else "") + " ".join(re.split(r"[\s_\-]+", bare))

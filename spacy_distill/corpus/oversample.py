"""Over-sampling: texts of rare labels stand in train more than once."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

from ..curation.types import labels_of
from ..errors import ConfigError
from ..types import Annotation


def repeats(annotations: Sequence[Annotation], at_least: int, *, seed: int = 0) -> list[tuple[int, str]]:
    """Choose the texts to repeat until each label has as many texts as asked for.

    The rarest label comes first. Its texts are taken in turn, in an order that the seed and their ids decide. A text
    with several labels counts for each of them, and may be taken for the sake of each.

    annotations (Sequence[Annotation]): Of train.
    at_least (int): 0: nothing is repeated. Labels without one text stay without.
    seed (int): Another seed, another order.
    RETURNS (List[Tuple[int, str]]): Each copy: whose, by its index, and for which label's sake.
    RAISES (ConfigError): `at_least` is not a number of texts.
    """
    if not isinstance(at_least, int) or isinstance(at_least, bool) or at_least < 0:
        raise ConfigError(f"oversample is {at_least!r}; expected a whole number of texts, or 0 for no copies.")
    texts: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(annotations)), key=lambda index: _drawn(annotations[index], seed)):
        for label in labels_of(annotations[index]):
            if label is not None:
                texts[label].append(index)
    counts: Counter[str | None] = Counter({label: len(found) for label, found in texts.items()})
    copies = []
    for label in sorted(texts, key=lambda label: (len(texts[label]), label)):
        for index in itertools.cycle(texts[label]):
            if counts[label] >= at_least:
                break
            counts.update(labels_of(annotations[index]))
            copies.append((index, label))
    return copies


def _drawn(annotation: Annotation, seed: int) -> str:
    return hashlib.sha256(f"{seed}\n{annotation.id}".encode("utf8", "surrogatepass")).hexdigest()

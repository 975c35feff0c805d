"""Several texts, and the labels that branch off them, as one sequence of tokens in which none sees another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Tree:
    """Tokens to evaluate in one pass. Each sees the cached prefix, the tokens it follows, and itself.

    cached (int): Tokens of the prefix, which are not in the tree.
    """

    def __init__(self, cached: int) -> None:
        self.cached = cached
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self._parents: list[int] = []
        self._children: dict[tuple[int, int], int] = {}

    def text(self, tokens: list[int]) -> int:
        """Start a new text after the prefix.

        tokens (List[int]): At least one.
        RETURNS (int): The row of its last token.
        """
        row = -1
        for token in tokens:
            row = self._add(row, token)
        return row

    def child(self, parent: int, token: int) -> int:
        """Go on after the row `parent`.

        RETURNS (int): The row of `token`: the same for all who go on with the same token.
        """
        if (parent, token) not in self._children:
            self._children[parent, token] = self._add(parent, token)
        return self._children[parent, token]

    def _add(self, parent: int, token: int) -> int:
        self.tokens.append(token)
        self._parents.append(parent)
        self.positions.append(self.positions[parent] + 1 if parent >= 0 else self.cached)
        return len(self.tokens) - 1

    def sees(self, window: int | None = None) -> NDArray[np.bool_]:
        """Which row of the tree sees which column: the cached tokens, then the tree's.

        window (Optional[int]): How many positions back a token sees at most, itself included. None: all.
        RETURNS (NDArray): `(tokens, cached + tokens)`.
        """
        size = len(self.tokens)
        sees = np.zeros((size, self.cached + size), dtype=np.bool_)
        sees[:, : self.cached] = True
        for row, parent in enumerate(self._parents):
            if parent >= 0:
                sees[row] = sees[parent]
            sees[row, self.cached + row] = True
        if window is not None:
            own = np.array(self.positions)
            sees &= own[:, None] - np.concatenate([np.arange(self.cached), own])[None] < window
        return sees


def common(first: list[int], second: list[int]) -> int:
    """RETURNS (int): How many tokens two sequences have in common from the start."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))

"""Measurements that are kept, one a line: what long benchmarks have in common."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Spec = Mapping[str, Any]


class Rows:
    """Rows of a JSONL file, each found by what was measured.

    path (Path): The file. It need not exist.
    names (Sequence[str]): The fields of a row that say what was measured.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.names = path, names
        lines = path.read_text(encoding="utf8").splitlines() if path.exists() else []
        self._known = {self._key(row): row for row in map(json.loads, lines)}

    def _key(self, spec: Spec) -> tuple[Any, ...]:
        return tuple(spec[name] for name in self.names)

    def __len__(self) -> int:
        return len(self._known)

    def missing(self, specs: Sequence[Spec]) -> list[Spec]:
        """RETURNS (List[Dict[str, Any]]): Those that were not measured."""
        return [spec for spec in specs if self._key(spec) not in self._known]

    def known(self, specs: Sequence[Spec]) -> list[dict[str, Any]]:
        """RETURNS (List[Dict[str, Any]]): The rows of those that were."""
        return [self._known[key] for key in map(self._key, specs) if key in self._known]

    def measure(
        self,
        specs: Sequence[Spec],
        measure: Callable[[Spec], dict[str, Any] | None],
        *,
        said: Callable[[dict[str, Any]], str] = str,
        minutes: float | None = None,
    ) -> None:
        """Measure one after the other what is missing; each row is written before the next begins.

        measure (Callable): Gives the figures, and None where it cannot be measured here.
        said (Callable): A row in words.
        minutes (Optional[float]): Begin nothing more after so many.
        """
        todo = self.missing(specs)
        start = time.monotonic()
        for number, spec in enumerate(todo, 1):
            if minutes is not None and time.monotonic() - start > 60 * minutes:
                print(f"{minutes:g} minutes are over: {len(todo) - number + 1} measurements are left.")
                return
            figures = measure(spec)
            if figures is None:
                continue
            row = {**spec, **{name: _rounded(value) for name, value in figures.items()}}
            self._known[self._key(spec)] = row
            with self.path.open("a", encoding="utf8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{number}/{len(todo)} {said(row)}", flush=True)


def _rounded(value: Any) -> Any:
    """RETURNS (Any): A figure with five digits."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def means(rows: Sequence[Spec], by: Sequence[str], figures: Mapping[str, int], main: str) -> list[dict[str, Any]]:
    """Put rows of several seeds together.

    by (Sequence[str]): The fields that rows have in common which go together.
    figures (Mapping[str, int]): Fields to take the mean of, where they are there, and their decimals.
    main (str): One of them, whose values are kept as well: `MAIN_by_seed`.
    RETURNS (List[Dict[str, Any]]): In the order of the first of each.
    """
    groups: dict[tuple[Any, ...], list[Spec]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    found = []
    for key, group in groups.items():
        there = {name: digits for name, digits in figures.items() if name in group[0]}
        mean = {name: round(statistics.mean(row[name] for row in group), digits) for name, digits in there.items()}
        found.append({**dict(zip(by, key, strict=True)), **mean, f"{main}_by_seed": [row[main] for row in group]})
    return found

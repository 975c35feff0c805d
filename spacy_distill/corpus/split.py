"""Divide annotations into train and dev: groups whole, labels in proportion, the same result for the same seed."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..curation.clusters import UnionFind, near_clusters
from ..curation.types import labels_of
from ..types import Annotation


@dataclass(frozen=True, slots=True)
class Split:
    """Which annotations go where: indices into what was split, ascending.

    train (Tuple[int, ...]): For training.
    dev (Tuple[int, ...]): For choosing the best step. `train` and `dev` share no group and no
        near-duplicates.
    clusters (int): How many indivisible sets of texts there were.
    """

    train: tuple[int, ...]
    dev: tuple[int, ...]
    clusters: int


def split(annotations: Sequence[Annotation], *, dev_share: float, seed: int = 0) -> Split:
    """Divide annotations, stratified by label, without parting what belongs together.

    Texts of one group stay together, and so do texts that are the same or nearly (`clusters.near_clusters`). The result
    does not depend on the annotations' order. Rarest labels are dealt first, each cluster to the side that lacks its
    label most: iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label
    data"), dealing clusters in place of single examples. A label with very few texts goes to train.

    dev_share (float): Between 0 and 1: how much of the annotations, and of each label, dev should get.
    seed (int): Another seed, another split.
    """
    clusters = sorted(_clusters(annotations), key=lambda members: _order(annotations, members, seed))
    # Big clusters first: the small ones even out what they leave.
    clusters.sort(key=len, reverse=True)
    counts = [Counter(label for index in members for label in labels_of(annotations[index])) for members in clusters]
    waiting: dict[str | None, list[int]] = defaultdict(list)
    totals: Counter[str | None] = Counter()
    for number, labels in enumerate(counts):
        totals.update(labels)
        for label in labels:
            waiting[label].append(number)

    # How many examples each side still lacks: of every label, and in all.
    shares = (1.0 - dev_share, dev_share)
    lacking = [{label: total * share for label, total in totals.items()} for share in shares]
    lacking_in_all = [len(annotations) * share for share in shares]
    side_of: dict[int, int] = {}
    remaining = Counter(totals)
    while len(side_of) < len(clusters):
        rarest = min((label for label in remaining if remaining[label] > 0), key=lambda label: _rank(label, remaining))
        for number in waiting[rarest]:
            if number in side_of:
                continue
            side = max((0, 1), key=lambda side: (lacking[side][rarest], lacking_in_all[side]))
            side_of[number] = side
            lacking_in_all[side] -= len(clusters[number])
            for label, count in counts[number].items():
                lacking[side][label] -= count
                remaining[label] -= count
    chosen = [sorted(i for n, members in enumerate(clusters) if side_of[n] == side for i in members) for side in (0, 1)]
    return Split(tuple(chosen[0]), tuple(chosen[1]), len(clusters))


def _rank(label: str | None, remaining: Counter[str | None]) -> tuple[int, bool, str]:
    return remaining[label], label is None, label or ""


def _order(annotations: Sequence[Annotation], members: list[int], seed: int) -> str:
    """RETURNS (str): Random from seed to seed, but always the same for the same texts."""
    first = min(annotations[index].id for index in members)
    return hashlib.sha256(f"{seed}\n{first}".encode("utf8", "surrogatepass")).hexdigest()


def _clusters(annotations: Sequence[Annotation]) -> list[list[int]]:
    """RETURNS (List[List[int]]): Indices that share a group, or whose texts are near, directly or by way of others."""
    united = UnionFind(len(annotations))
    groups: dict[str, int] = {}
    for index, near in enumerate(near_clusters([annotation.text for annotation in annotations])):
        united.unite(near, index)
        group = annotations[index].group
        if group is not None:
            united.unite(groups.setdefault(group, index), index)
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(annotations)):
        members[united.root(index)].append(index)
    return list(members.values())

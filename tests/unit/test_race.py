"""Choosing a tier: what is on the front, and what a constraint picks."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from spacy_distill.errors import StageError
from spacy_distill.evaluation.comparison import Interval
from spacy_distill.evaluation.race import METRICS, Candidate, choose, front
from spacy_distill.evaluation.race_files import draw
from spacy_distill.students.tiers import Run


def _candidate(tier: str, score: float, speed: float, size_mb: float) -> Candidate:
    found = Interval(score, score - 0.02, score + 0.02)
    return Candidate(
        tier=tier,
        main="accuracy",
        scores=dict.fromkeys(METRICS, found),
        by_seed={0: score},
        behind=Interval(0.0, 0.0, 0.0),
        size_mb=size_mb,
        words_per_s=speed,
        words_per_s_fresh=speed,
        train_s=1.0,
        best=Run(tier, 0, Path(tier), 1.0, False),
    )


LARGE = _candidate("large", 0.90, 1_500, 92.0)
MIDDLE = _candidate("middle", 0.895, 60_000, 2.3)
BEATEN = _candidate("beaten", 0.85, 40_000, 8.0)
FAST = _candidate("fast", 0.86, 400_000, 0.4)
ALL = [LARGE, MIDDLE, FAST, BEATEN]


def test_the_best_is_chosen_unless_asked_otherwise() -> None:
    assert choose(ALL) is LARGE


def test_of_equals_the_faster_is_chosen() -> None:
    twin = _candidate("twin", 0.90, 2_000, 50.0)
    assert choose([LARGE, twin]) is twin
    assert choose([twin, LARGE]) is twin


def test_a_limit_on_size() -> None:
    assert choose(ALL, max_mb=10) is MIDDLE
    assert choose(ALL, max_mb=1) is FAST


def test_the_fastest_within_points_of_the_best() -> None:
    assert choose(ALL, within=0.5) is MIDDLE  # exactly half a point behind: rounding must not lose it
    assert choose(ALL, within=0.4) is LARGE
    assert choose(ALL, within=5) is FAST


def test_both_constraints_count_from_the_best_of_the_right_size() -> None:
    assert choose(ALL, max_mb=10, within=1) is MIDDLE
    assert choose(ALL, max_mb=10, within=3.6) is FAST


def test_a_limit_that_nothing_keeps_names_the_smallest() -> None:
    with pytest.raises(StageError, match=r"smallest, fast, has 0\.4"):
        choose(ALL, max_mb=0.1)


def test_the_front_leaves_out_what_another_beats_in_both() -> None:
    assert [one.tier for one in front(ALL)] == ["fast", "middle", "large"]


def test_the_picture_is_one_svg_with_every_name_escaped() -> None:
    odd = _candidate("a<b>&c", 0.88, 90_000, 1.0)
    root = ElementTree.fromstring(draw([*ALL, odd], MIDDLE, "the best of 10 MB or less"))
    space = "{http://www.w3.org/2000/svg}"
    groups = root.findall(f"{space}g")
    assert len(groups) == 5
    ringed = [group for group in groups if len(group.findall(f"{space}circle")) == 3]
    assert [group.findtext(f"{space}title", "").split(":")[0] for group in ringed] == ["middle"]
    assert any(group.findtext(f"{space}title", "").startswith("a<b>&c:") for group in groups)
    width = float(root.attrib["width"])
    for circle in root.iter(f"{space}circle"):
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < float(root.attrib["height"])
    # Higher scores stand higher, faster ones further right.
    place = {g.findtext(f"{space}title", "").split(":")[0]: g.findall(f"{space}circle")[0].attrib for g in groups}
    assert float(place["large"]["cy"]) < float(place["fast"]["cy"])
    assert float(place["large"]["cx"]) < float(place["fast"]["cx"])

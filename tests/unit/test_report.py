"""The report: escaped, self-contained, and the same figures as the JSON."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from spacy_distill.errors import ConfigError
from spacy_distill.evaluation.evaluate import evaluate, scored_texts
from spacy_distill.evaluation.examples import disagreements
from spacy_distill.evaluation.report import print_table, render, speed
from spacy_distill.evaluation.systems import System, majority_system
from spacy_distill.types import Annotation, Span

EVIL = '<script>alert("x")</script>'
LABELS = ("good", EVIL)
COSTS = ("words/s,", "warm", "MB", "labels", "used", "answered")


def one(id, label, *, confidence=None, status="ok"):
    return Annotation(
        id=id,
        text=f"{EVIL} & text {id}",
        task="textcat",
        labels=LABELS,
        status=status,
        cats={name: float(name == label) for name in LABELS} if status == "ok" else None,
        confidence=confidence,
        confidence_kind=None if confidence is None else "logprob",
        group=f"g{int(id) // 2}",
    )


GOLD = [one(str(i), LABELS[i % 3 == 0]) for i in range(60)]
STUDENT = [one(str(i), LABELS[i % 4 == 0], confidence=0.5 + i / 200) for i in range(60)]
TEACHER = [one(str(i), LABELS[i % 3 == 0], status="unparsed" if i == 5 else "ok") for i in range(60)]


@pytest.fixture(scope="module")
def evaluation():
    systems = [
        System("student", STUDENT, words_per_s=12345.6, size_mb=1.5, files={f"{EVIL}/model-best": "abc"}),
        System("teacher", TEACHER, model=EVIL),
    ]
    return evaluate(GOLD, [*systems, majority_system(GOLD, "good", Path(__file__))], resamples=200)


class Page(HTMLParser):
    """Collects elements, and checks that they are closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.links = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href", "action")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_texts_labels_models_and_paths_are_escaped(evaluation):
    examples = disagreements(GOLD, [("student", STUDENT), ("teacher", TEACHER)])
    html = render(evaluation, examples)
    page = Page(html)
    assert "script" not in page.seen
    assert not page.open
    assert html.count("&lt;script&gt;") > 10


def test_the_report_needs_nothing_from_outside(evaluation):
    html = render(evaluation)
    assert Page(html).links == []
    assert not re.search(r"url\(|@import|https?://", html)


def test_the_report_opens_with_the_verdict(evaluation):
    html = render(evaluation)
    heading = re.search(r"<h1>(.*?)</h1>", html).group(1)
    assert heading.startswith("The student is significantly worse than its teacher: −")
    assert "1 of 60 texts (1 unparsed)" in html
    assert "in 30 groups" in html


def test_without_examples_there_is_no_text(evaluation):
    assert "&amp; text" not in render(evaluation)
    assert "& text" not in evaluation.to_json()


def test_json_has_every_figure(evaluation):
    found = json.loads(evaluation.to_json())
    student, teacher, majority = found["results"]
    wrong = sum((i % 3 == 0) != (i % 4 == 0) for i in range(60))
    assert student["scores"]["accuracy"]["value"] == pytest.approx(1 - wrong / 60)
    assert teacher["scores"]["accuracy"]["value"] == pytest.approx(59 / 60)
    assert majority["scores"]["accuracy"]["value"] == pytest.approx(40 / 60)
    assert majority["label_coverage"] == 0.5
    assert majority["never"] == [EVIL]
    assert teacher["statuses"] == {"ok": 59, "unparsed": 1}
    assert teacher["confusion"] == [[39, 0, 1], [0, 20, 0]]
    assert (found["texts"], found["units"], found["main"]) == (60, 30, "accuracy")
    for number, system in enumerate(("teacher", "majority")):
        difference = found["differences"][number]
        other = found["results"][1 + number]["scores"]["accuracy"]["value"]
        assert (difference["first"], difference["other"]) == ("student", system)
        expected = student["scores"]["accuracy"]["value"] - other
        assert difference["metrics"]["accuracy"]["value"] == pytest.approx(expected)
    assert student["calibration"]["ece"] > 0
    assert teacher["calibration"] is None


def test_a_label_that_only_gold_has_is_no_silence_of_the_systems():
    gold = [*GOLD[:-1], replace(GOLD[-1], labels=(*GOLD[-1].labels, "junk"), cats={"junk": 1.0})]
    student, teacher = evaluate(gold, [System("student", STUDENT), System("teacher", TEACHER)], resamples=50).results
    assert (student.never, student.lacks, student.label_coverage) == ((), {"junk": 1}, pytest.approx(2 / 3))
    assert teacher.lacks == {"junk": 1}


def test_an_entity_label_that_only_gold_has_is_no_silence_of_the_systems():
    def record(labels, *spans):
        return Annotation("e", "a red apple", "ner", labels, "ok", ents=tuple(Span(*span) for span in spans))

    gold = [record(("FRUIT", "COLOUR"), (2, 5, "COLOUR"), (6, 11, "FRUIT"))]
    (student,) = evaluate(gold, [System("student", [record(("FRUIT",))])], resamples=50).results
    assert (student.never, student.lacks) == (("FRUIT",), {"COLOUR": 1})


def test_fidelity_takes_the_teacher_for_the_truth(evaluation):
    same = sum(STUDENT[i].label == TEACHER[i].label for i in range(60) if i != 5) / 59
    assert evaluation.differences[0].fidelity == pytest.approx(same)


def unreached(count, status="error"):
    """The same teacher, whose server answered no longer from some text on."""
    answered = len(GOLD) - count
    lost = [] if status == "missing" else [one(str(i), "good", status=status) for i in range(answered, len(GOLD))]
    return System("teacher", TEACHER[:answered] + lost, model=EVIL)


@pytest.mark.parametrize("status", ["error", "missing"])
@pytest.mark.parametrize("count", [4, 40, 60])
def test_a_teacher_that_was_not_reached_has_no_figures(status, count):
    systems = [System("student", STUDENT), unreached(count, status), majority_system(GOLD, "good", Path(__file__))]
    found = evaluate(GOLD, systems, resamples=50)
    assert [result.name for result in found.results] == ["student", "majority"]
    assert [difference.other for difference in found.differences] == ["majority"]
    assert (found.unreached, found.teacher) == ({"teacher": count}, EVIL)
    assert found.verdict[0] == (
        f"The teacher was not reached for {count} of 60 texts: it has no figures here. Run `spacy-distill annotate` on"
        " the gold file again, which asks for them (or add them to the file of recorded replies first), and then"
        " evaluate again."
    )
    assert not any("its teacher" in sentence for sentence in found.verdict)
    html = render(found)
    assert f"<h1>The teacher was not reached for {count} of 60 texts" in html
    assert ">teacher<" not in html
    Page(html)


@pytest.mark.parametrize("status", ["error", "missing"])
def test_a_few_texts_that_the_teacher_was_not_reached_for_are_left_out_for_all(status):
    systems = [System("student", STUDENT), unreached(3, status), majority_system(GOLD, "good", Path(__file__))]
    found = evaluate(GOLD, systems, resamples=50)
    rest = evaluate(GOLD[:57], [System("student", STUDENT[:57]), System("teacher", TEACHER[:57])], resamples=50)
    assert (found.texts, found.left_out, found.unreached) == (57, {"teacher": 3}, {})
    assert [result.name for result in found.results] == ["student", "teacher", "majority"]
    for one, other in zip(found.results, rest.results, strict=False):
        assert one.scores == other.scores
        assert one.statuses == other.statuses
    assert found.differences[0].metrics == rest.differences[0].metrics
    assert found.differences[0].fidelity == rest.differences[0].fidelity
    assert found.verdict[0].startswith("The student is")
    assert "The teacher was not reached for 3 of 60 texts: they are left out, for all." in found.verdict
    assert "3 of 60 texts" in render(found)
    assert [record.id for record in scored_texts(GOLD, systems)] == [record.id for record in GOLD[:57]]
    assert scored_texts(GOLD, [systems[0], unreached(4, status)]) == GOLD


def test_without_a_majority_the_report_says_that_the_teacher_was_not_reached():
    html = render(evaluate(GOLD, [System("student", STUDENT), unreached(40)], resamples=50))
    assert "<h1>Student: 58.3 accuracy</h1>" in html
    assert "<li>The teacher was not reached for 40 of 60 texts" in html


def test_what_a_teacher_did_not_answer_by_itself_counts_as_wrong():
    for status in ("abstain", "unparsed", "unknown_label"):
        found = evaluate(GOLD, [System("student", STUDENT), unreached(40, status)], resamples=50)
        assert found.results[1].scores["accuracy"].value == pytest.approx(19 / 60)
        assert found.unreached == {}


def test_the_table_is_plain_text_without_a_terminal(evaluation):
    out = io.StringIO()
    print_table(evaluation, Console(file=out))
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert lines[0].split() == ["accuracy", "(95", "%)", "macro-F1", "(95", "%)", *COSTS]
    assert lines[1].split()[0] == "student"
    assert lines[1].split()[-7:-5] == ["12", "000"]
    assert any(line.startswith("The student is significantly worse") for line in lines)


@pytest.mark.parametrize(
    ("measured", "shown"),
    [(None, "–"), (1253478.2, "1 300 000"), (149.6, "150"), (99.6, "100"), (9.96, "10"), (4.56, "4.6")],
)
def test_speeds_have_two_digits(measured, shown):
    assert speed(measured) == shown.replace(" ", "\u202f")


def test_the_report_says_what_warm_is(evaluation):
    html = render(evaluation)
    assert html.count("words/s, warm</th>") == 1
    assert html.count("Warm: reading the same texts again and again") == 1
    assert "12\u202f000" in html
    assert "12\u202f346" not in html
    assert json.loads(evaluation.to_json())["results"][0]["words_per_s"] == 12345.6


def test_many_labels_get_a_list_instead_of_a_matrix():
    labels = tuple(f"label {i}" for i in range(25))

    def record(id, label):
        return Annotation(str(id), f"t{id}", "textcat", labels, "ok", cats={label: 1.0})

    gold = [record(i, labels[i % 25]) for i in range(100)]
    wrong = [record(i, labels[(i + (i % 10 == 0)) % 25]) for i in range(100)]
    html = render(evaluate(gold, [System("student", wrong)], resamples=50))
    assert 'class="matrix"' not in html
    assert "most frequent confusions" in html
    assert '<table class="confusions">' in html  # whose long names break: else the second column is out of sight
    Page(html)


@pytest.mark.parametrize(("count", "wide"), [(5, False), (6, True)])
def test_matrices_of_more_than_a_few_labels_have_the_width_of_the_page(count, wide):
    labels = tuple(f"label_number_{i}" for i in range(count))
    gold = [Annotation(label, label, "textcat", labels, "ok", cats={label: 1.0}) for label in labels]
    html = render(evaluate(gold, [System("student", gold)], resamples=50))
    assert ('class="matrices wide"' in html) == wide
    assert 'class="matrix"' in html


def test_entities_have_their_own_errors():
    def record(id, *spans):
        return Annotation(str(id), "eggs and rice", "ner", ("FOOD",), "ok", ents=tuple(Span(*span) for span in spans))

    gold = [record(i, (0, 4, "FOOD"), (9, 13, "FOOD")) for i in range(40)]
    found = [record(i, (0, 4, "FOOD"), (5, 13, "FOOD")) for i in range(40)]
    evaluation = evaluate(gold, [System("student", found), System("teacher", gold)], resamples=50)
    assert evaluation.main == "micro_f1"
    assert evaluation.results[0].errors.boundary == 40
    assert evaluation.results[0].scores["micro_f1"].value == pytest.approx(0.5)
    assert evaluation.results[0].confusion is None
    html = render(evaluation, disagreements(gold, [("student", found), ("teacher", gold)]))
    assert "What goes wrong" in html
    assert "eggs [FOOD]; and rice [FOOD]" in html
    Page(html)


def test_examples_show_the_surest_errors_first():
    kinds = dict(disagreements(GOLD, [("student", STUDENT), ("teacher", TEACHER)], per_kind=2))
    assert list(kinds) == ["teacher right, student wrong", "student right, teacher wrong"]
    first, second = kinds["teacher right, student wrong"]
    wrong = [r for i, r in enumerate(STUDENT) if (i % 3 == 0) != (i % 4 == 0)]
    assert [first.id, second.id] == [r.id for r in sorted(wrong, key=lambda r: -r.confidence)[:2]]
    assert kinds["student right, teacher wrong"][0].answers[1] == ("teacher", "no answer", False)


def test_two_systems_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="no two of one name"):
        evaluate(GOLD, [System("student", STUDENT), System("student", STUDENT)])

"""The sweep, with real trainings: small configs on a small corpus of made-up messages."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import spacy
from spacy.vocab import Vocab
from typer.testing import CliRunner

from spacy_distill.cli import app
from spacy_distill.cli.sweep import _last, _train
from spacy_distill.corpus.build import build
from spacy_distill.corpus.splits import find_splits
from spacy_distill.docs import annotate_doc, doc_of, make_doc, read_docs, write_docs
from spacy_distill.errors import StageError
from spacy_distill.evaluation.race import groups, race
from spacy_distill.evaluation.race_files import read_corpus
from spacy_distill.evaluation.run import evaluate_files
from spacy_distill.files import write_jsonl
from spacy_distill.release.release import release
from spacy_distill.students import tiers as tiers_module
from spacy_distill.students.tiers import Run, Tier, find_tiers, learned_dev, train_tier
from spacy_distill.types import Annotation, Text

CONFIGS = Path(__file__).parents[2] / "configs"
THINGS = ("lamp", "kettle", "chair", "radio", "coat", "clock", "mirror", "basket", "pillow", "ladder", "bucket", "fan")
SAID = {
    "praise": ("I love this {}", "what a wonderful {}", "the {} is great, thank you", "very happy with my {}"),
    "complaint": ("the {} broke at once", "terrible {}, I want my money back", "my {} never came", "a useless {}"),
}


def _records() -> list[Annotation]:
    texts = [(form.format(thing), label) for label, forms in SAID.items() for form in forms for thing in THINGS]
    return [
        Annotation(
            id=str(i),
            text=text,
            task="textcat",
            labels=("complaint", "praise"),
            status="ok",
            cats={"complaint": 0.9 if label == "complaint" else 0.1, "praise": 0.9 if label == "praise" else 0.1},
        )
        for i, (text, label) in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nlp = spacy.blank("en")
    records = _records()
    folder = tmp_path_factory.mktemp("corpus")
    build([doc_of(nlp, record)[0] for record in records], records, dev_share=0.25).write(folder)
    return folder


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """Two tiers that train in seconds, one that needs what is not there, one that fails, and no tier at all."""
    folder = tmp_path / "configs"
    folder.mkdir()
    fast = re.sub(r"max_steps = \d+", "max_steps = 40", (CONFIGS / "textcat_fast.cfg").read_text("utf8"))
    fast = re.sub(r"eval_frequency = \d+", "eval_frequency = 20", fast)
    (folder / "textcat_fast.cfg").write_text(fast, "utf8")
    (folder / "textcat_pairs.cfg").write_text(fast.replace("ngram_size = 1", "ngram_size = 2"), "utf8")
    (folder / "textcat_absent.cfg").write_text(fast.replace("spacy.TextCatBOW.v3", "nobody.Here.v1"), "utf8")
    (folder / "textcat_broken.cfg").write_text(fast.replace("length = 32768", "length = 0"), "utf8")
    for other in ("curation.cfg", "textcat_multilabel.cfg", "ner.cfg"):
        (folder / other).write_text((CONFIGS / other).read_text("utf8"), "utf8")
    return folder


def _sweep(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["sweep", *map(str, args)], catch_exceptions=True)
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


def test_tiers_are_those_of_the_task_with_what_they_lack(configs: Path) -> None:
    found = {tier.name: tier.missing for tier in find_tiers(configs, "textcat", True)}
    assert found == {
        "textcat_absent": ("nobody.Here.v1",),
        "textcat_broken": (),
        "textcat_fast": (),
        "textcat_pairs": (),
    }
    assert [tier.name for tier in find_tiers(configs, "textcat", False)] == ["textcat_multilabel"]
    assert all(tier.seeded for tier in find_tiers(configs, "textcat", True))
    assert [tier.name for tier in find_tiers(configs, "ner", True)] == ["ner"]


def test_vectors_may_be_an_installed_pipeline_and_an_encoder_a_name_on_the_hub(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site" / "en_words"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    about = tmp_path / "site" / "en_words-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: en_words\nVersion: 1.0\n", "utf8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    fast = (configs / "textcat_fast.cfg").read_text("utf8")
    for number, line in enumerate(('vectors = "en_words"', 'vectors = "en_nowords"', 'encoder = "bert-base-uncased"')):
        (configs / f"textcat_{number}.cfg").write_text(fast.replace("vectors = null\n", f"{line}\n", 1), "utf8")
    encoder = (CONFIGS / "textcat_encoder.cfg").read_text("utf8")
    (configs / "textcat_3.cfg").write_text(encoder.replace("assets/encoder", "assets_encoder"), "utf8")
    found = {tier.name: tier.missing for tier in find_tiers(configs, "textcat", True)}
    assert (
        found.items()
        >= {
            "textcat_0": (),
            "textcat_1": ("en_nowords",),
            "textcat_2": (),
            "textcat_3": ("assets_encoder",),
        }.items()
    )
    monkeypatch.setattr("spacy_distill.students.tiers.find_spec", lambda name: None)
    without = {tier.name: tier.missing for tier in find_tiers(configs, "textcat", True)}
    assert without["textcat_2"] == ("huggingface_hub",)


def test_the_projects_own_tiers_are_found() -> None:
    found = {tier.name: (tier.seeded, tier.needs_dev) for tier in find_tiers(CONFIGS, "textcat", True)}
    wanted = {"textcat_tiny": (False, False), "textcat_tuned": (True, False), "textcat_accurate": (True, True)}
    assert found.items() >= wanted.items()


@pytest.mark.slow
def test_a_training_is_done_once_for_a_config_a_corpus_and_a_seed(configs: Path, corpus: Path, tmp_path: Path) -> None:
    def once(seed: int) -> tuple[bool, str]:
        (tier,) = (tier for tier in find_tiers(configs, "textcat", True) if tier.name == "textcat_fast")
        run = train_tier(tier, [corpus], tmp_path / "out", seed)
        assert spacy.load(run.model)("the lamp broke").cats
        return run.kept, json.loads((run.model.parent / "run.json").read_text("utf8"))["key"]

    kept, key = once(0)
    assert not kept
    assert once(0) == (True, key)
    kept, other = once(1)
    assert (kept, other == key) == (False, False)
    (tmp_path / "out" / "textcat_fast" / "0" / "run.json").unlink()  # as after a kill
    assert once(0) == (False, key)
    config = configs / "textcat_fast.cfg"
    config.write_text(config.read_text("utf8").replace("learn_rate = 0.01", "learn_rate = 0.02"), "utf8")
    kept, other = once(0)
    assert (kept, other == key) == (False, False)


@pytest.mark.slow
def test_the_command_trains_compares_and_chooses(configs: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options: Sequence[object] = (corpus, out, "--configs", configs, "--seeds", 1)
    code, said = _sweep(*options)
    assert code == 0, said
    assert "textcat_absent is left out: nobody.Here.v1" in said
    assert "Failed: textcat_broken, seed 0" in said
    found = json.loads((out / "sweep.json").read_text("utf8"))
    assert {tier["tier"] for tier in found["tiers"]} == {"textcat_fast", "textcat_pairs"}
    for tier in found["tiers"]:
        assert tier["scores"]["accuracy"]["low"] <= tier["scores"]["accuracy"]["value"]
        assert tier["words_per_s"] > 0
        assert tier["words_per_s_fresh"] > 0
        assert tier["size_mb"] > 0.05
        assert tier["train_s"] > 0
    assert found["tiers"][0]["behind"]["value"] == 0
    assert found["tiers"][0]["scores"]["accuracy"]["value"] > 0.6  # it learned something
    assert (out / "sweep.svg").read_text("utf8").startswith("<svg")
    winner = spacy.load(out / "model-best")
    chosen = spacy.load(out / found["chosen"] / "0" / "model-best")
    assert winner("I love this lamp").cats == chosen("I love this lamp").cats
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/run.json")}
    code, said = _sweep(*options, "--max-mb", 0.00001)
    assert code == 1
    assert "smallest" in said
    code, said = _sweep(*options, "--tier", "textcat_fast", "--within", 100)
    assert code == 0, said
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*/run.json")} == before
    assert "Chosen: textcat_fast (the fastest within 100 points of the best), seed 0" in said


@pytest.mark.slow
def test_a_winner_that_needs_no_dev_learns_from_it_in_the_end(configs: Path, corpus: Path, tmp_path: Path) -> None:
    (configs / "textcat_tiny.cfg").write_text((CONFIGS / "textcat_tiny.cfg").read_text("utf8"), "utf8")
    out = tmp_path / "out"
    code, said = _sweep(corpus, out, "--configs", configs, "--tier", "textcat_tiny")
    assert code == 0, said
    assert "Chosen: textcat_tiny (the best), trained once more on train and dev together" in said
    winner, other = (spacy.load(out / path) for path in ("model-best", "textcat_tiny/0/model-best"))
    assert winner("I love this lamp").cats != other("I love this lamp").cats
    whole = {doc.text for doc in read_docs(out / "textcat_tiny" / "whole" / "train.spacy", Vocab())}
    assert whole == {record.text for record in _records()}
    assert json.loads((out / "model-best" / "meta.json").read_text("utf8"))["performance"] == {}
    assert learned_dev(winner)
    assert not learned_dev(other)
    gold = [{"text": record.text, "gold": record.positive()} for record in _records()[:20]]
    write_jsonl(tmp_path / "gold.jsonl", gold)
    found = evaluate_files(out / "model-best", tmp_path / "gold.jsonl", tmp_path / "evaluation", corpus=corpus)
    assert found.seen == {"train": 20, "dev": 0}
    for model, texts in ((out / "model-best", len(whole)), (out / "textcat_tiny/0/model-best", len(whole) * 3 // 4)):
        made = release(model, tmp_path / "wheel", name="lamps", version="0.1.0", manifest=corpus / "manifest.json")
        with zipfile.ZipFile(made.wheel) as wheel:
            meta = json.loads(wheel.read("en_lamps/meta.json"))
        assert meta["distillation"]["train"]["texts"] == texts
    before = (out / "textcat_tiny/whole/textcat_tiny/0/run.json").stat().st_mtime_ns
    code, said = _sweep(corpus, out, "--configs", configs, "--tier", "textcat_tiny")
    assert code == 0, said
    assert "Dev has only" in said  # 24 texts
    assert (out / "textcat_tiny/whole/textcat_tiny/0/run.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_what_grows_beyond_the_limit_or_would_learn_gold_stays_as_it_was(
    configs: Path, corpus: Path, tmp_path: Path
) -> None:
    (configs / "textcat_tiny.cfg").write_text((CONFIGS / "textcat_tiny.cfg").read_text("utf8"), "utf8")
    (tier,) = (tier for tier in find_tiers(configs, "textcat", True) if tier.name == "textcat_tiny")
    run = train_tier(tier, [corpus], tmp_path / "out", 0)
    dev, seen = read_corpus(corpus)
    (candidate,) = race([run], [dev], seen)
    last, how = _last(tier, candidate, corpus, tmp_path / "out", 1e-6)
    assert last is candidate.best
    assert how.startswith("seed 0; with dev it would have 0.")
    checked = tmp_path / "checked"
    shutil.copytree(corpus, checked)
    manifest = (checked / "manifest.json").read_text("utf8").replace('"dev_share": 0.25', '"dev_share": null')
    (checked / "manifest.json").write_text(manifest, "utf8")
    assert _last(tier, candidate, checked, tmp_path / "out", None) == (candidate.best, "seed 0")


@pytest.mark.slow
def test_each_seed_has_a_split_of_its_own_where_the_corpus_has_several(configs: Path, tmp_path: Path) -> None:
    (configs / "textcat_tiny.cfg").write_text((CONFIGS / "textcat_tiny.cfg").read_text("utf8"), "utf8")
    nlp, records = spacy.blank("en"), _records()
    docs, out = tmp_path / "curated.spacy", tmp_path / "out"
    write_docs(docs, (annotate_doc(make_doc(nlp, Text(item.id, item.text)), item) for item in records))
    corpus = tmp_path / "corpus"
    made = CliRunner().invoke(app, ["corpus", str(docs), str(corpus), "--dev-share", "0.25"], catch_exceptions=False)
    assert "Divided 2 times more, for `sweep`" in made.output
    devs = [read_corpus(folder)[0] for folder in find_splits(corpus)]
    assert len({frozenset(record.text for record in dev) for dev in devs}) == len(devs) == 3
    assert len({(folder / "manifest.json").read_text("utf8") for folder in find_splits(corpus)}) == 3
    options = (corpus, out, "--configs", configs, "--tier", "textcat_tiny", "--tier", "textcat_fast")
    code, said = _sweep(*options, "--seeds", 4)
    assert code == 0, said
    texts = len({record.text for dev in devs for record in dev})
    assert f"Tiers on {texts} dev texts of 3 splits" in said
    tiers = {tier["tier"]: tier for tier in json.loads((out / "sweep.json").read_text("utf8"))["tiers"]}
    assert set(tiers["textcat_tiny"]["by_seed"]) == {"0", "1", "2"}  # a fourth would be the first again
    assert set(tiers["textcat_fast"]["by_seed"]) == {"0", "1", "2", "3"}
    assert tiers["textcat_fast"]["best"]["seed"] in (0, 3)  # those of the corpus's own split
    (tiny,) = (tier for tier in find_tiers(configs, "textcat", True) if tier.name == "textcat_tiny")
    runs = [train_tier(tiny, find_splits(corpus), out, seed) for seed in range(3)]
    assert all(run.kept for run in runs)
    right = sum(
        max(doc.cats, key=doc.cats.__getitem__) == record.label
        for run, dev in zip(runs, devs, strict=True)
        for doc, record in zip(spacy.load(run.model).pipe(record.text for record in dev), dev, strict=True)
    )
    assert tiers["textcat_tiny"]["scores"]["accuracy"]["value"] == pytest.approx(right / sum(map(len, devs)))
    CliRunner().invoke(app, ["corpus", str(docs), str(corpus), "--splits", "1"], catch_exceptions=False)
    assert find_splits(corpus) == [corpus]
    assert not list(corpus.glob("split-*"))


def test_splits_that_cannot_be_had_are_left_out(tmp_path: Path) -> None:
    nlp, docs, corpus = spacy.blank("en"), tmp_path / "curated.spacy", tmp_path / "corpus"
    records = [replace(record, group=str(number % 2)) for number, record in enumerate(_records())]
    write_docs(docs, (annotate_doc(make_doc(nlp, Text(item.id, item.text)), item) for item in records))
    options = ["corpus", str(docs), str(corpus), "--dev-share", "0.5", "--splits", "9"]
    made = CliRunner().invoke(app, options, catch_exceptions=False)
    left_out = 9 - len(find_splits(corpus))
    assert left_out >= 7  # Of two groups, one is dev.
    assert f"{left_out} further splits would have nothing in dev, or the same again: left out." in made.output
    assert "split-1" not in made.output or (corpus / "split-1" / "train.spacy").is_file()
    units = [groups([read_corpus(folder)[0]]) for folder in find_splits(corpus)]
    assert all(len(set(one)) == 1 for one in units)
    assert len({unit for one in units for unit in one}) == len(units)


def test_a_tier_that_fails_on_one_split_is_not_compared(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(tier: Tier, splits: Sequence[Path], output_dir: Path, seed: int) -> Run:
        if (tier.name, seed) == ("textcat_pairs", 1):
            raise StageError("no memory")
        return Run(tier.name, seed, output_dir, 1.0, False, seed % len(splits))

    monkeypatch.setattr(tiers_module, "train_tier", train)
    both = [tier for tier in find_tiers(configs, "textcat", True) if tier.name in ("textcat_fast", "textcat_pairs")]
    runs = _train(both, [tmp_path / "a", tmp_path / "b"], tmp_path, 2, 1)
    assert [(run.tier, run.split) for run in runs] == [("textcat_fast", 0), ("textcat_fast", 1)]
    assert "textcat_pairs is left out" in capsys.readouterr().out
    assert len(_train(both, [tmp_path / "a"], tmp_path, 3, 1)) == 5  # with one split, the other seeds will do
    with pytest.raises(StageError, match="no memory"):
        _train(both[1:], [tmp_path / "a", tmp_path / "b"], tmp_path, 2, 1)


def test_an_unknown_tier_names_those_there_are(configs: Path, corpus: Path, tmp_path: Path) -> None:
    code, said = _sweep(corpus, tmp_path / "out", "--configs", configs, "--tier", "nothing")
    assert code == 1
    assert "textcat_fast" in said

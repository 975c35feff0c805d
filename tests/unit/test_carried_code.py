"""A pipeline whose component is ours takes the component's module along, and needs nothing else of ours."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import spacy

from spacy_distill.release import isolated
from spacy_distill.release.freeze import CARRIED, freeze
from spacy_distill.release.package import package
from spacy_distill.release.verify import verify

MODULE = """
from spacy.language import Language


def count_words(doc):
    doc.cats = {"long": float(len(doc) > weight)}
    return doc


weight = 4

if not Language.has_factory("carried_example"):

    @Language.factory("carried_example", assigns=["doc.cats"])
    def make(nlp: Language, name: str):
        return count_words
"""
TEXTS = ["One two.", "One two three four five."]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    root = tmp_path_factory.mktemp("carried")
    file = root / "example.py"
    file.write_text(MODULE)
    spec = importlib.util.spec_from_file_location(f"{CARRIED}example", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    nlp = spacy.blank("en")
    nlp.add_pipe("carried_example")
    nlp.to_disk(root / "trained")
    freeze(root / "trained", root / "frozen")
    yield root / "frozen"
    del sys.modules[spec.name]


def test_the_module_lies_beside_the_pipeline_and_runs_without_this_package(frozen):
    assert [file.name for file in frozen.glob("*.py")] == ["example.py"]
    assert "spacy_distill" not in (frozen / "config.cfg").read_text()
    assert verify(spacy.load(frozen), frozen, TEXTS) > len(TEXTS)


@pytest.mark.slow
def test_a_package_that_was_half_installed_does_no_harm(frozen, tmp_path, monkeypatch):
    (tmp_path / "half-1.0.dist-info").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert verify(spacy.load(frozen), frozen, TEXTS) > len(TEXTS)


def test_the_wheel_has_the_module_and_does_not_ask_for_this_package(frozen, tmp_path):
    wheels = [package(frozen, tmp_path, name=name, version="1.0.0") for name in ("first", "second")]
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path / "site")
    site = tmp_path / "site"
    metadata = (site / "en_first-1.0.0.dist-info" / "METADATA").read_text()
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert len(required) == 1
    assert required[0].startswith("Requires-Dist: spacy<")
    assert "distill" not in (site / "en_first" / "meta.json").read_text().replace('"distillation"', "")
    # Both in one process: the module that comes second finds the factory there.
    second = "import en_second\nassert en_second.load().pipe_names == ['carried_example']"
    done = subprocess.run(
        [sys.executable, "-c", f"{Path(isolated.__file__).read_text()}\n{second}", "en_first"],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    assert [answer["cats"] for answer in json.loads(done.stdout)] == [{"long": 0.0}, {"long": 1.0}]

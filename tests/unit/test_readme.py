"""The teachers and the prompt that README.md shows load as they stand there."""

import json
import re
from pathlib import Path

from spacy_distill.annotate import load_teacher
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.local import Local
from spacy_distill.teacher.recorded import Recorded
from spacy_distill.teacher.transport import is_loopback

ROOT = Path(__file__).parents[2]
MODEL = re.compile(r"\[components\.llm\.model\]\n[^\[]*\n")
TASK = re.compile(r"\[components\.llm\.task\]\n.*?\n(?=\[|$)", re.DOTALL)
README = (ROOT / "README.md").read_text(encoding="utf8")
TEACHERS = README.split("\n## Teachers\n")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```ini\n(.*?)```", TEACHERS, re.DOTALL)


def load(block: str, folder: Path):
    """The demo's teacher with another model."""
    assert MODEL.fullmatch(block)
    config, replaced = MODEL.subn(f"{block}\n", (ROOT / "configs" / "teacher.cfg").read_text(encoding="utf8"))
    assert replaced == 1
    path = folder / "teacher.cfg"
    path.write_text(config, encoding="utf8")
    return load_teacher(path, ledger=folder / "ledger.sqlite").get_pipe("llm")._model


def test_every_kind_is_shown(tmp_path):
    models = [load(block, tmp_path) for block in BLOCKS]
    assert [type(model) for model in models] == [Chat, Chat, Chat, Chat, Local, Recorded]
    chats = {model.endpoint: model._key_env for model in models if isinstance(model, Chat)}
    assert len(chats) == 4
    hosted = {endpoint for endpoint in chats if not is_loopback(endpoint)}
    assert hosted == {"https://api.openai.com/v1"}
    assert {endpoint for endpoint, key in chats.items() if key} == hosted
    assert not (tmp_path / "ledger.sqlite").exists()


def test_the_prompt_shown_is_made(tmp_path, monkeypatch):
    (block,) = re.findall(r"\n## Prompts\n.*?```ini\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets").mkdir()
    gold = [{"text": f"text {i}", "gold": ("refund", "bug", "other")[i % 3]} for i in range(9)]
    (tmp_path / "assets" / "gold_sample.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in gold), "utf8")
    demo = (ROOT / "configs" / "teacher.cfg").read_text(encoding="utf8")
    path = tmp_path / "teacher.cfg"
    path.write_text(TASK.sub(f"{block}\n", demo), "utf8")
    nlp = load_teacher(path, ledger=tmp_path / "ledger.sqlite")
    prompts = list(nlp.get_pipe("llm")._task.generate_prompts([nlp.make_doc("text 4"), nlp.make_doc("word " * 2000)]))
    assert "wants money back" in prompts[0][0][0]
    assert prompts[0][0][0].count("\nText: text ") == 7
    assert len(prompts[1][0]) == 2


def test_each_is_under_ten_lines():
    assert max(len(block.splitlines()) for block in BLOCKS) < 10

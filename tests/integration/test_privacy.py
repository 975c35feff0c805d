"""Keys and texts go to the endpoint that the config names, and nowhere else. The servers' side of it is in
test_chat_faults.py, a real server's in test_llamacpp.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from chat_server import Answer, ChatServer

from spacy_distill.annotate import load_teacher
from spacy_distill.cli import main
from spacy_distill.errors import ConfigError
from spacy_distill.teacher.chat import Chat

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-canary-90d2"
OTHER_KEY = "sk-canary-of-another-vendor"
CONFIG = """
[nlp]
lang = "en"
pipeline = ["llm"]
[components]
[components.llm]
factory = "llm"
[components.llm.model]
@llm_models = "spacy_distill.Chat.v1"
name = "loopback-1"
{settings}
[components.llm.task]
@llm_tasks = "spacy_distill.TextCat.v1"
labels = ["tea", "coffee"]
"""
# A process that notes with whom it speaks, and whom it looks up. Python does not hear of libcurl's connections.
SPY = """
import json, pycurl, socket, sys
met = set()
class Curl(pycurl.Curl):
    def __init__(self):
        super().__init__()
        self.setopt(pycurl.OPENSOCKETFUNCTION, self.connect)
    def connect(self, purpose, to):
        met.add(json.dumps([part.decode() if isinstance(part, bytes) else part for part in to[3]]))
        return socket.socket(*to[:3])
pycurl.Curl = Curl
def note(event, args):
    if event == "socket.connect":
        met.add(json.dumps(args[1]))
    elif event == "socket.getaddrinfo" and args[0] is not None:
        met.add(json.dumps(args[:2]))
sys.addaudithook(note)
from spacy_distill.cli import main
sys.argv[0] = "spacy-distill"
try:
    main()
finally:
    print("met", *sorted(met))
"""


def config(folder: Path, **settings: object) -> Path:
    path = folder / "teacher.cfg"
    path.write_text(CONFIG.format(settings="\n".join(f"{name} = {json.dumps(settings[name])}" for name in settings)))
    return path


def test_a_local_endpoint_is_all_that_hears_of_the_texts(server: ChatServer, tmp_path: Path) -> None:
    """With keys, base URLs and proxies of hosted services in the environment, as on many a machine."""
    elsewhere = "http://127.0.0.1:9/v1"
    names = ["OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_HOST", "HTTP_PROXY", "http_proxy", "ALL_PROXY"]
    keys = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "CO_API_KEY", "AZURE_OPENAI_KEY", "HF_TOKEN"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(names, elsewhere), **dict.fromkeys(keys, OTHER_KEY)}
    env.pop("NO_PROXY", None)
    env.pop("no_proxy", None)
    texts = tmp_path / "texts.txt"
    texts.write_text("a cup of tea\na mug of coffee\nsoup\n")
    path, output = config(tmp_path, endpoint=server.url), tmp_path / "out" / "pool.spacy"
    command = [sys.executable, "-c", SPY, "annotate", str(path), str(texts), str(output)]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == f'met ["127.0.0.1", {server.port}]'
    assert len(server.seen) == 3
    for seen in server.seen:
        assert "authorization" not in seen.headers
        assert OTHER_KEY not in json.dumps([dict(seen.headers), seen.body])
    assert OTHER_KEY not in run.stdout + run.stderr


def test_a_key_stays_in_its_variable(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through the commands: what they print, the ledger, the docs, the books, an error."""
    monkeypatch.setenv("TEACHER_KEY", KEY)
    texts = tmp_path / "texts.txt"
    texts.write_text("a cup of tea\na mug of coffee\nsoup\n")
    path = config(tmp_path, endpoint=server.url, key_env="TEACHER_KEY")
    for command in (["preview", path, texts], ["annotate", path, texts, tmp_path / "out" / "pool.spacy"]):
        monkeypatch.setattr(sys, "argv", ["spacy-distill", *map(str, command)])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
    assert {seen.headers["authorization"] for seen in server.seen} == {f"Bearer {KEY}"}
    server.behave = lambda seen: Answer(401, {"error": {"message": f"What is {seen.headers['authorization']}?"}})
    texts.write_text("a glass of water\n")
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    printed = "".join(capfd.readouterr())
    assert "TEACHER_KEY" in printed
    load_teacher(path).to_disk(tmp_path / "saved")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"pool.spacy", "pool.json", "ledger.sqlite", "config.cfg"} <= {file.name for file in files}
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    assert KEY not in printed


@pytest.mark.parametrize("key", ["sk-canary-1", "gsk_Canary1", "hf_Canary", "canary key"])
def test_a_key_in_place_of_its_variables_name_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], key: str
) -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        Chat("m", "https://llm.example/v1", key_env=key)
    assert key not in str(caught.value)
    monkeypatch.chdir(tmp_path)
    Path("texts.txt").write_text("a cup of tea\n")
    options = ["--label", "tea", "--label", "coffee", "--texts", "texts.txt", "--model", "m", "--key-env", key]
    monkeypatch.setattr(sys, "argv", ["spacy-distill", "init", "made", *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert key not in "".join(capfd.readouterr())
    assert not Path("made").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"endpoint": "https://llm.example/v1", "api_key": KEY},
        {"endpoint": "https://llm.example/v1", "extra": {"api_key": KEY}, "max_tries": "many"},
        {"endpoint": f"https://me:{KEY}@llm.example/v1"},
    ],
)
def test_a_config_that_does_not_load_is_not_printed(tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"(?s)does not load.*(?:api_key|max_tries|endpoint)") as caught:
        load_teacher(config(tmp_path, **settings))
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("line", "where"),
    [
        (KEY, "line 12"),
        (f"key_env {KEY}", "line 12"),
        (f"key_env = ${{system.{KEY}}}", r"'key_env' in \[components.llm.model\]"),
    ],
)
def test_a_config_that_cannot_be_read_is_not_printed(tmp_path: Path, line: str, where: str) -> None:
    path = config(tmp_path, endpoint="https://llm.example/v1")
    path.write_text(path.read_text().replace("[components.llm.task]", f"{line}\n[components.llm.task]"))
    with pytest.raises(ConfigError, match=f"teacher.cfg cannot be read as a config: look at {where}") as caught:
        load_teacher(path)
    assert KEY not in "".join(traceback.format_exception(caught.value))

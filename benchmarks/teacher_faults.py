"""Whether replies that were paid for survive: faults in three of ten requests, and processes that are killed.

A chat endpoint on loopback meets three of ten requests with a fault of every kind that the tests know: no answer,
resets, 4xx and 5xx, half a body, empty choices, refusals, filters. Processes that annotate real texts through `Chat`
and one ledger are killed (SIGKILL) at random moments; in the second half there are two processes at a time, both going
through all the texts in the same order, as two runs of one command do. After each kill the ledger is opened and
checked. In the end one process runs through, and then `spacy-distill annotate` goes through other texts, faults too.

What counts is the server's own log of what it was asked and what it answered, beside the ledger:

- `accounted`: texts with a row in the ledger in the end, be it a reply, a refusal or an error. As many as `texts`.
- `lost`: replies that were in the ledger after one kill, and are not, or say something else, later. None.
- `paid_twice`: requests that the server got for a text whose reply had been committed. None.
- `in_flight_at_kill`: answers that the server had sent when the process was killed, before it could commit them. No
  client can help it; never more than were in flight. What one process was asking when it was killed, the other asks.
- `asked_at_once`: answers that two processes got for the same text while both lived. None.
- `annotate_texts` and `annotate_accounted`: the same for the command, from the docs it wrote.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spacy_distill.teacher.ledger import Ledger
from tests.integration.chat_server import Answer, ChatServer, Seen, completion, thirty_percent

from . import data_path, print_json
from .line import command

LATENCY_S = 0.05
IN_FLIGHT = 32
LONGEST_LIFE_S = 2.0
GOOD = Answer(200, completion("ham"))

CHILD = """
import json, random, sys
from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.types import Prompt
url, ledger, texts, in_flight, seed = sys.argv[1:]
prefix = "Classify the text as one of: ham, spam.\\n\\nText: "
prompts = [Prompt(text, prefix=prefix, suffix="\\nLabel:") for text in json.load(open(texts, encoding="utf8"))]
random.Random(int(seed)).shuffle(prompts)
chat = Chat("loopback-1", url, max_in_flight=int(in_flight), timeout_s=2.0, logprobs=False, ledger=ledger)
print("ready", flush=True)
for _ in chat.stream(prompts):
    pass
"""

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
endpoint = "{url}"
max_in_flight = {in_flight}
timeout_s = 2.0

[components.llm.task]
@llm_tasks = "spacy_distill.TextCat.v1"
labels = ["ham", "spam"]
template = "complete"
"""


@dataclass
class Books:
    """What the server's log and the ledger say together.

    ledger (Path): The file.
    committed (Dict[str, Tuple[str, float]]): Prompt to the reply in the ledger after the last kill, and when it was
        committed; failed requests are no replies.
    """

    ledger: Path
    committed: dict[str, tuple[str, float]] = field(default_factory=dict)
    kills: int = 0
    lost: int = 0
    paid_twice: int = 0
    in_flight_at_kill: int = 0
    asked_at_once: int = 0
    broken_ledgers: int = 0

    def close_round(self, server: ChatServer, first_kill_s: float = float("inf")) -> None:
        """Compare what the server saw since the last round with what has come to be in the ledger.

        first_kill_s (float): When a process was killed for the first time in this round, on the monotonic clock.
        """
        while server.in_flight:  # The last answers, to nobody.
            time.sleep(LATENCY_S)
        clock_s = time.time() - time.monotonic()
        seen, server.seen = server.seen, []
        delivered, server.delivered = server.delivered, []
        connection = sqlite3.connect(self.ledger)
        self.broken_ledgers += connection.execute("PRAGMA integrity_check").fetchone() != ("ok",)
        connection.close()
        ledger = Ledger(self.ledger)
        now = {row["prompt"]: (row["reply"], row["created_s"]) for row in ledger.rows() if row["status"] != "error"}
        ledger.close()
        self.lost += sum(now.get(prompt, ("", 0.0))[0] != reply for prompt, (reply, _) in self.committed.items())
        for request in seen:
            _, committed_s = now.get(request.prompt, ("", float("inf")))
            self.paid_twice += request.time_s + clock_s > committed_s
        paid = [request for request, answer in delivered if is_paid(answer) and request.prompt not in self.committed]
        for prompt, answers in Counter(request.prompt for request in paid).items():
            at_once = sum(request.prompt == prompt and request.time_s < first_kill_s for request in paid)
            self.asked_at_once += max(0, at_once - 1)
            self.in_flight_at_kill += answers - max(1, at_once) if prompt in now else answers
        self.committed = now


def is_paid(answer: Answer) -> bool:
    """RETURNS (bool): The server has written a whole reply: a good one, a refusal, or one cut at its token limit."""
    choices = answer.body.get("choices") if isinstance(answer.body, dict) and answer.status == 200 else None
    if not choices:
        return False
    message = choices[0]["message"]
    return message["content"] is not None or "refusal" in message


def behave(seen: Seen) -> Answer:
    """RETURNS (Answer): A fault, or "ham"."""
    return thirty_percent(seen) or GOOD


def start(server: ChatServer, ledger: Path, texts: Path, seed: int) -> subprocess.Popen[str]:
    """RETURNS (subprocess.Popen): A process that is about to send its first request."""
    arguments = [server.url, ledger, texts, IN_FLIGHT, seed]
    return subprocess.Popen([sys.executable, "-c", CHILD, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def kill_rounds(server: ChatServer, books: Books, texts: Path, kills: int, rng: random.Random) -> None:
    """Start and kill: one process at a time, and two in the second half."""
    while books.kills < kills:
        processes = 1 if books.kills < kills // 2 else min(2, kills - books.kills)
        seed = rng.randrange(2**31)
        running = [start(server, books.ledger, texts, seed) for _ in range(processes)]
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        start_s = time.monotonic()
        first_kill_s = float("inf")
        lives_s = sorted((rng.uniform(0.0, LONGEST_LIFE_S), process.pid) for process in running)
        for life_s, pid in lives_s:
            time.sleep(max(0.0, start_s + life_s - time.monotonic()))
            (process,) = (process for process in running if process.pid == pid)
            books.kills += process.poll() is None
            first_kill_s = min(first_kill_s, time.monotonic())
            process.kill()
        for process in running:
            with process:
                process.wait(30)
        books.close_round(server, first_kill_s)
        if books.kills % 10 < processes:
            print(f"{books.kills} kills, {len(books.committed)} replies committed", flush=True)


def run_through(server: ChatServer, books: Books, texts: Path) -> None:
    """One process that nobody kills."""
    with start(server, books.ledger, texts, 0) as process:
        process.communicate(timeout=1800)
    assert process.returncode == 0
    books.close_round(server)


def annotate(server: ChatServer, folder: Path, texts: Sequence[str]) -> int:
    """Run `spacy-distill annotate`.

    RETURNS (int): Texts that it accounts for, each with a status.
    """
    (folder / "teacher.cfg").write_text(CONFIG.format(url=server.url, in_flight=IN_FLIGHT), encoding="utf8")
    lines = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)]
    (folder / "texts.jsonl").write_text("\n".join(lines), encoding="utf8")
    command("spacy_distill", "annotate", "teacher.cfg", "texts.jsonl", "pool.spacy", folder=folder)
    summary = json.loads((folder / "pool.json").read_text(encoding="utf8"))
    statuses: dict[str, int] = summary["statuses"]["textcat"]
    print(f"spacy-distill annotate: {summary['texts']} texts, {statuses}")
    return sum(statuses.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=3000, help="texts for the ledger (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=50, help="processes that are killed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the orders (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="400 texts, 10 kills")
    options = parser.parse_args()
    count, kills = (400, 10) if options.quick else (options.texts, options.kills)
    with data_path("sms_spam_llm", "all.jsonl").open(encoding="utf8") as file:
        texts = list(dict.fromkeys(json.loads(line)["text"] for line in file))
    texts, others = texts[:count], texts[count : count + count // 5]
    start_s = time.perf_counter()
    server = ChatServer(LATENCY_S, behave)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "texts.json").write_text(json.dumps(texts), encoding="utf8")
        books = Books(folder / "replies.sqlite")
        kill_rounds(server, books, folder / "texts.json", kills, random.Random(options.seed))
        run_through(server, books, folder / "texts.json")
        ledger = Ledger(books.ledger)
        statuses = ledger.counts()
        ledger.close()
        accounted = annotate(server, folder, others)
    server.close()
    print(f"\n{len(texts)} texts in the ledger: {statuses}")
    print(f"{books.kills} kills, {books.in_flight_at_kill} answers in flight at a kill, {books.lost} lost after it")
    print(f"{books.paid_twice} paid twice, {books.asked_at_once} asked at once by two processes")
    print_json(
        texts=len(texts),
        accounted=sum(statuses.values()),
        paid_twice=books.paid_twice,
        kills=books.kills,
        lost=books.lost,
        in_flight_at_kill=books.in_flight_at_kill,
        asked_at_once=books.asked_at_once,
        broken_ledgers=books.broken_ledgers,
        annotate_texts=len(others),
        annotate_accounted=accounted,
        in_flight=IN_FLIGHT,
        seed=options.seed,
        seconds_s=round(time.perf_counter() - start_s, 1),
    )


if __name__ == "__main__":
    main()

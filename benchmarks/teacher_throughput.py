"""How fast texts are annotated through a chat endpoint: `Chat` beside spaCy-llm's own REST model, in one run.

Both send the same prompts for the same texts to the same server, which runs in a process of its own on loopback and
thinks for 100 ms about each. Each reply is committed to a ledger by ours; spaCy-llm's model keeps nothing.

spaCy-llm's OpenAI class asks api.openai.com for its models in the constructor whatever the endpoint; that call alone
is switched off. Its request path is its own. Theirs takes long enough to be measured once; ours is over so soon that
it runs three times, with new connections and an empty ledger each, and the median counts. Then ours goes on alone for
100,000 texts, to show its steady pace and that its memory does not grow.

The ideal is what concurrency and latency allow: in flight / latency. `share_of_ideal` and `cpu_ms_per_text`, the user
and system time of this process, are of the long run; the time that the server takes on top of its 100 ms counts
against ours. `peak_rss_mb` is this process's peak memory, spaCy and spaCy-llm included; `rss_growth_mb`, by how much
the peak rose after the first tenth of the long run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spacy_llm.models.rest.openai import OpenAI

from spacy_distill.teacher.chat import Chat
from spacy_distill.teacher.types import Prompt

from . import ROOT, data_path, print_json

LATENCY_S = 0.1
PREFIX = "Classify the text as one of: ham, spam.\n\nText: "
SUFFIX = "\n\nLabel:"


@dataclass(frozen=True)
class Run:
    """One way to annotate, measured.

    texts (int): Annotated.
    seconds_s (float): Wall time.
    cpu_s (float): User and system time of this process.
    in_flight (int): Requests at a time.
    """

    name: str
    texts: int
    seconds_s: float
    cpu_s: float
    in_flight: int

    @property
    def texts_per_s(self) -> float:
        return self.texts / self.seconds_s

    @property
    def share_of_ideal(self) -> float:
        return self.texts_per_s * LATENCY_S / self.in_flight

    @property
    def cpu_ms_per_text(self) -> float:
        return 1000 * self.cpu_s / self.texts


class OpenAIWithoutGreeting(OpenAI):
    """spaCy-llm's model without the call to api.openai.com in its constructor."""

    def _verify_auth(self) -> None:
        pass


@contextmanager
def chat_server() -> Iterator[str]:
    """YIELDS (str): The base URL of a server in another process."""
    script = ROOT / "tests" / "integration" / "chat_server.py"
    command = [sys.executable, str(script), "--latency-s", str(LATENCY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{json.loads(server.stdout.readline())['port']}/v1"
        finally:
            server.kill()


def peak_rss_mb() -> float:
    """RETURNS (float): The most memory this process ever had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def run_ours(url: str, prompts: Iterable[Prompt], in_flight: int, ledger: Path) -> Run:
    """RETURNS (Run): `Chat`, from opening its connections to the last reply."""
    texts = 0

    def counted() -> Iterator[Prompt]:
        nonlocal texts
        for prompt in prompts:
            texts += 1
            yield prompt

    chat = Chat("loopback-1", url, max_in_flight=in_flight, logprobs=False, ledger=ledger)
    start_s, cpu_s = time.perf_counter(), time.process_time()
    count = sum(reply.meta.status == "ok" for _, reply in chat.stream(counted()))
    run = Run("spacy_distill.Chat.v1", count, time.perf_counter() - start_s, time.process_time() - cpu_s, in_flight)
    chat.close()
    assert count == texts, f"{texts - count} texts failed"
    return run


def run_theirs(url: str, prompts: Sequence[Prompt]) -> Run:
    """RETURNS (Run): spaCy-llm's model, as its component calls it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # There is no key.
        model = OpenAIWithoutGreeting(
            name="loopback-1",
            endpoint=f"{url}/chat/completions",
            config={"temperature": 0.0, "max_tokens": 1024},
            strict=True,
            max_tries=5,
            interval=1.0,
            max_request_time=30.0,
            context_length=None,
        )
    start_s, cpu_s = time.perf_counter(), time.process_time()
    count = sum(len(list(replies)) for replies in model([[str(prompt)] for prompt in prompts]))
    return Run("spaCy-llm OpenAI", count, time.perf_counter() - start_s, time.process_time() - cpu_s, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=640, help="texts for both (default: %(default)s)")
    parser.add_argument("--stream", type=int, default=100_000, help="texts for ours alone (default: %(default)s)")
    parser.add_argument("--in-flight", type=int, default=64, help="requests at a time (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="320 texts for both, 6,400 for ours alone")
    options = parser.parse_args()
    both, alone = (320, 6400) if options.quick else (options.texts, options.stream)
    with data_path("sms_spam_llm", "all.jsonl").open(encoding="utf8") as file:
        texts = list(dict.fromkeys(json.loads(line)["text"] for line in file))

    def prompts(start: int, count: int) -> Iterator[Prompt]:
        for number in range(start, start + count):
            yield Prompt(f"{texts[number % len(texts)]} {number}", prefix=PREFIX, suffix=SUFFIX)

    with chat_server() as url, tempfile.TemporaryDirectory() as folder:
        run_ours(url, prompts(0, 1), 1, Path(folder) / "warm.sqlite")
        theirs = run_theirs(url, list(prompts(0, both)))
        short = [run_ours(url, prompts(0, both), options.in_flight, Path(folder) / f"{n}.sqlite") for n in range(3)]
        ours = sorted(short, key=lambda run: run.seconds_s)[1]
        rss_mb: list[float] = []

        def watched() -> Iterator[Prompt]:
            for number, prompt in enumerate(prompts(both, alone)):
                if number == alone // 10:
                    rss_mb.append(peak_rss_mb())
                yield prompt

        steady = run_ours(url, watched(), options.in_flight, Path(folder) / "steady.sqlite")
        rss_mb.append(peak_rss_mb())
    speedup = theirs.seconds_s / ours.seconds_s
    print(f"{LATENCY_S * 1000:.0f} ms latency, loopback, {os.cpu_count()} cores\n")
    print(f"{'':24}{'in flight':>10}{'texts':>8}{'seconds':>9}{'texts/s':>9}{'of ideal':>10}{'CPU ms/text':>13}")
    for run in (theirs, ours, steady):
        print(
            f"{run.name:24}{run.in_flight:10}{run.texts:8}{run.seconds_s:9.2f}{run.texts_per_s:9.1f}"
            f"{run.share_of_ideal:10.1%}{run.cpu_ms_per_text:13.2f}"
        )
    print(f"\nOn the same {both} texts ours is {speedup:.1f} times as fast.")
    print(f"Peak memory {rss_mb[0]:.1f} MB after {alone // 10:,} texts alone, {rss_mb[-1]:.1f} MB after {alone:,}.")
    print_json(
        speedup_vs_spacy_llm=round(speedup, 1),
        share_of_ideal=round(steady.share_of_ideal, 3),
        cpu_ms_per_text=round(steady.cpu_ms_per_text, 3),
        peak_rss_mb=round(rss_mb[-1], 1),
        rss_growth_mb=round(rss_mb[-1] - rss_mb[0], 1),
        texts=both,
        texts_steady=alone,
        in_flight=options.in_flight,
        latency_s=LATENCY_S,
    )


if __name__ == "__main__":
    main()

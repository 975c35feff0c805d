"""A llama.cpp server on loopback, with four slots of 512 tokens: `python llamacpp_server.py MODEL.gguf`.

Prints its address and serves until its standard input ends. It wants the key in the environment variable TEACHER_KEY.
"""

from __future__ import annotations

import os
import sys

import xllamacpp

SLOTS = 4
SLOT_TOKENS = 512


def main(model: str) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"smollm2"}
    params.api_keys = [os.environ["TEACHER_KEY"]]
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * SLOT_TOKENS
    params.cpuparams.n_threads = 1  # Two wait for each other wherever another process takes a core.
    params.endpoint_metrics = True
    params.ui = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])

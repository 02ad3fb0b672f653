"""llama.cpp's own server out of the wheel xllamacpp, told what it is to do in llama-server's words.

usage: server.py FOLDER-OF-THE-WHEEL --model FILE --host SOCKET --ctx-size N [--parallel N] [--threads N]
"""

import argparse
import signal
import sys

folder = sys.argv[1]
sys.path.insert(0, folder)
import xllamacpp  # noqa: E402

words = argparse.ArgumentParser()
words.add_argument("--model", required=True)
words.add_argument("--host", required=True)
words.add_argument("--ctx-size", type=int, required=True)
words.add_argument("--parallel", type=int, default=1)
words.add_argument("--threads", type=int, default=1)
told = words.parse_args(sys.argv[2:])

params = xllamacpp.CommonParams()
params.model.path = told.model
params.hostnames = [told.host]
params.n_ctx = told.ctx_size
params.n_parallel = told.parallel
params.cpuparams.n_threads = told.threads
params.cpuparams_batch.n_threads = told.threads
server = xllamacpp.Server(params)
while True:
    signal.pause()

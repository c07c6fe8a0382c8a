"""llama.cpp's own server in this process, until it is killed: `llama_server.py MODEL CONTEXT SLOTS PORT`.

Prints the address it listens at on stdout; what it logs goes to stderr.
"""

import signal
import sys

import xllamacpp


def main() -> None:
    """Serve one model."""
    model, context, slots, port = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"random"}
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.n_ctx = int(context) * int(slots)
    params.n_parallel = int(slots)
    params.n_threads_http = 8
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()

"""`import fair_distill`, and `load` of a small set: cold and cached, from a folder and from S3, with the S3 requests.

    python -m benchmarks.load --python light/bin/python --s3 moto ceph=http://127.0.0.1:7480

Each load runs in a new process, like a training script. The start of Python is not included; the imports of `load` are.
The set has 100 images of 3×32×32 in float32. `--python` is the interpreter of a light installation, which imports less
than this one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from statistics import median

import torch

from benchmarks.measure import RESULTS, report
from fair_distill.files import sha256
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempts import reserve
from fair_distill.registry.store import open_registry

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / "registry")]

from small_registry import NAME, NOW, package, ship  # noqa: E402 (where it is, the line above says)

BUCKET = "load-benchmark"
CHILD = """
import json, sys, time
def clock(): return time.perf_counter(), time.process_time()
began = clock()
import fair_distill
imported = clock()
digits = fair_distill.load(sys.argv[1], registry=sys.argv[2])
loaded = clock()
again = fair_distill.load(sys.argv[1], registry=sys.argv[2])
done = clock()
names = ("import", "load", "load_again")
steps = zip((began, imported, loaded), (imported, loaded, done))
said = {name: [b - a for a, b in zip(*step)] for name, step in zip(names, steps)}
print(json.dumps(said))
"""
# Requests are counted in another process, so that counting is not timed.
COUNTED = """
import json, sys
from collections import Counter
import botocore.client
asked, made = Counter(), botocore.client.BaseClient._make_api_call
def counted(self, name, arguments):
    asked[name] += 1
    return made(self, name, arguments)
botocore.client.BaseClient._make_api_call = counted
import fair_distill
fair_distill.load(sys.argv[1], registry=sys.argv[2])
print(json.dumps(asked))
"""


def fill(url: str, entries: int) -> None:
    """Ship a set, after as many attempts at the gate as make the ledger long."""
    store, contents = open_registry(url), package(1, examples=100, shape=(3, 32, 32))
    for number in range(entries - 4):
        split = sha256(b"split %d" % number)
        reserve(store, NAME, contents.version, split, fresh="", actor=Actor("ada", NOW, str(number)))
    ship(store, contents)


def child(python: str, code: str, url: str, cache: Path) -> dict[str, list[float]]:
    environment = {**os.environ, "FAIR_DISTILL_CACHE": str(cache)}
    command = [python, "-c", code, f"{NAME}@production", url]
    done = subprocess.run(command, env=environment, cwd=cache.parent, check=True, capture_output=True)
    output: dict[str, list[float]] = json.loads(done.stdout)
    return output


def measured(python: str, url: str, rounds: int) -> dict[str, object]:
    """Median seconds on the wall and of the processor; with an empty cache, and with one that has the set."""
    times: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for state in ("cold", "cached"):
                output = child(python, CHILD, url, Path(folder) / str(number))
                times.setdefault("import", []).append(output["import"])
                times.setdefault(f"load, {state}", []).append(output["load"])
                times.setdefault("load again in the same process", []).append(output["load_again"])
        options = {state: child(python, COUNTED, url, Path(folder) / "counted") for state in ("cold", "cached")}
    results: dict[str, object] = {}
    for name, rows in times.items():
        wall, cpu = zip(*rows, strict=True)
        results[name] = {"wall": median(wall), "wall_high": max(wall), "cpu": median(cpu)}
    return results | {f"S3 is asked, {state}": calls for state, calls in options.items() if calls}


def bucket(endpoint: str) -> str:
    """Make a bucket, or take it as it is; return an empty place in it. Credentials are a test server's."""
    import boto3

    os.environ |= {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret-of-tester"}
    os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}?endpoint={endpoint}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that loads")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--entries", type=int, default=200, help="how long the ledger is")
    parser.add_argument("--s3", nargs="*", default=["moto"], metavar="NAME=URL", help="servers; `moto` is in process")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        registries = {"folder": str(Path(folder) / "registry")}
        for output in options.s3:
            name, _, endpoint = output.partition("=")
            if name == "moto":
                import logging

                from moto.server import ThreadedMotoServer

                logging.getLogger("werkzeug").setLevel(logging.WARNING)

                server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
                server.start()
                endpoint = "http://{}:{}".format(*server.get_host_and_port())
            registries[name] = bucket(endpoint)
        for place, url in registries.items():
            fill(url, options.entries)
            results[place] = measured(options.python, url, options.rounds)
    result = {"entries": options.entries, "rounds": options.rounds, **results}
    report("load", result, device=torch.device("cpu"), out=options.out)


if __name__ == "__main__":
    main()

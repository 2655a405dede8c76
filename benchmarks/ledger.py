"""The first `load`, `promote`, `rollback` and reserved attempt with ledgers of 100 to 10,000 entries.

S3 requests and CPU seconds. The record of attempts has as many entries as the ledger.

    python -m benchmarks.ledger
    python -m benchmarks.ledger --code OTHER_CHECKOUT --label before

Each operation runs in a new process with an empty cache, against moto in this process. The CPU seconds do not include
imports. A GET is GetObject, HeadObject or a page of ListObjectsV2. After each operation the objects that it wrote are
removed, so that all three start from the same ledger.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.load import BUCKET, bucket
from benchmarks.measure import RESULTS, report
from fair_distill.files import sha256
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempt_entry import RECORD
from fair_distill.registry.entry import Entry, entry_key
from fair_distill.registry.ledger import append, read_ledger
from fair_distill.registry.store import open_registry

TESTS = Path(__file__).parents[1] / "tests" / "registry"
sys.path[:0] = [str(TESTS)]

from small_attempts import numbered, take  # noqa: E402
from small_registry import NAME, NOW, package, publish, ship  # noqa: E402 (the line above says where it is)

ACTS = {
    "load": "from fair_distill import load; load(f'{NAME}@production', registry=url)",
    "promote": "promote(open_registry(url), package(3))",
    "rollback": (
        "retraction.rollback(open_registry(url), NAME, 'production', reason='worse', actor=Actor('ada', NOW, 'back'))"
    ),
    "reserve": "take(open_registry(url), numbered(range(1000)), version='new', dataset='other')",
}
CHILD = """
import json, sys, time
from collections import Counter
import botocore.client
from small_attempts import numbered, take
from small_registry import NAME, NOW, package, promote
from fair_distill.registry import client, retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.store import open_registry

calls, call = Counter(), botocore.client.BaseClient._make_api_call
def counted(self, name, arguments):
    calls[name] += 1
    return call(self, name, arguments)
botocore.client.BaseClient._make_api_call = counted
url, act = sys.argv[1:]
package(3)
numbered(range(1000))
open_registry(url)  # imports boto3, and makes no request
wall, cpu = time.perf_counter(), time.process_time()
exec(act)
seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
gets = sum(calls[name] for name in ("GetObject", "HeadObject", "ListObjectsV2"))
print(json.dumps({"gets": gets, **calls, **seconds}))
"""


def fill(url: str, prefix: str, client: Any, entries: int) -> None:
    """Write a ledger: three versions, two of them promoted, then attempts. The last entry is written by a command."""
    store = open_registry(url)
    ship(store, package(1))
    ship(store, package(2))
    publish(store, package(3))
    last = read_ledger(store, NAME)[-1]
    contents = {}
    for number in range(last.number + 1, entries):
        last = Entry(
            event="attempt",
            version=package_version(number),
            split=sha256(b"split %d" % number),
            who="ada",
            time=last.time,
            nonce=f"{number:032x}",
            number=number,
            prev=last.digest,
            name=NAME,
        )
        contents[f"{prefix}/{entry_key(NAME, number)}"] = last.to_json()
    attempt = take(store, numbered(range(1000)), version="first", dataset="other").entry
    for number in range(2, entries):
        # A small fraction, so that something is left for the attempt that is measured.
        attempt = replace(attempt, number=number, reservation=number, prev=attempt.digest, fraction=1e-6)
        attempt = replace(attempt, version=package_version(number))
        contents[f"{prefix}/{RECORD.key(number)}"] = attempt.to_json()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: client.put_object(Bucket=BUCKET, Key=item[0], Body=item[1]), contents.items()))
    take(open_registry(url), numbered(range(1000)), version="last", dataset="other")
    split = sha256(b"the last split")
    draft = Actor("ada", NOW, "last").draft("attempt", package_version(0), split=split)
    append(open_registry(url), NAME, lambda _: draft)


def package_version(number: int) -> str:
    return sha256(b"version %d" % number)


def keys(client: Any, prefix: str) -> set[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return {entry["Key"] for page in pages for entry in page.get("Contents", ())}


def measured(code: Path, url: str, act: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "FAIR_DISTILL_CACHE": cache, "PYTHONPATH": f"{code}:{TESTS}"}
        command = [sys.executable, "-c", CHILD, url, act]
        done = subprocess.run(command, env=environment, cwd=cache, check=True, capture_output=True)
    measurement: dict[str, float] = json.loads(done.stdout)
    return measurement


def main() -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, nargs="*", default=[100, 1000, 10000])
    parser.add_argument("--code", type=Path, default=Path(__file__).parents[1], help="the checkout that is measured")
    parser.add_argument("--label", default="ledger", help="the name of the result")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    result: dict[str, object] = {}
    for entries in arguments.entries:
        url = bucket(endpoint)
        prefix = url.partition(f"{BUCKET}/")[2].partition("?")[0]
        client = boto3.client("s3", endpoint_url=endpoint)
        fill(url, prefix, client, entries)
        before = keys(client, prefix)
        rows = {}
        for name, act in ACTS.items():
            rows[name] = measured(arguments.code, url, act)
            for key in keys(client, prefix) - before:
                client.delete_object(Bucket=BUCKET, Key=key)
        result[f"{entries} entries"] = rows
        print(entries, json.dumps(rows))
    server.stop()
    report(arguments.label, result, device=torch.device("cpu"), out=arguments.out)


if __name__ == "__main__":
    main()

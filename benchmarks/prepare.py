"""The cost of `prepare`: memory and time for a source of many gigabytes, and rates for many small images in a bucket.

    python -m benchmarks.prepare [--gigabytes 10] [--side 28 --channels 1] [--images 20000] [--folder /tmp]

Only anonymous memory counts, because the system can drop pages of files. It is sampled in a process that runs `prepare`
and nothing besides. The benchmark creates the source and the bucket, and removes them. The bucket is served by moto on
the loopback interface, which answers a few hundred requests a second, or by another server. The CPU seconds of a
server on this machine are reported separately:

    AWS_ENDPOINT_URL=http://127.0.0.1:7480 python -m benchmarks.prepare --gigabytes 0 --server $(pidof radosgw ceph-osd)
"""

import argparse
import io
import json
import math
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

Shape = tuple[int, int, int]

RESULTS = Path(__file__).parent / "results"
ROWS = 10_000  # of a record batch, or a row group, of the source
SPLITS = {"train": 0.8, "tune": 0.1, "gate": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10, help="of Arrow files; a fifth as much in Parquet")
    parser.add_argument("--side", type=int, default=32, help="pixels of an image's side")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--images", type=int, default=20_000, help="in the bucket")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for the source")
    parser.add_argument("--server", type=int, nargs="+", metavar="PID", help="of the S3 at AWS_ENDPOINT_URL")
    parser.add_argument("--out", type=Path, default=RESULTS / "prepare.json")
    arguments = parser.parse_args()
    found = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    shape = (arguments.channels, arguments.side, arguments.side)
    for form, gigabytes in (("arrow", arguments.gigabytes), ("parquet", arguments.gigabytes / 5)):
        if gigabytes:
            with scratch(arguments.folder) as root:
                found[f"{form} of {'×'.join(map(str, shape))}"] = large(root, form, int(gigabytes * 1e9), shape)
            save(arguments.out, found)
    if arguments.images:
        with scratch(arguments.folder) as root, bucket(arguments.server) as (address, server):
            name = "objects" if arguments.server is None else "objects of another server"
            found[name] = objects(root, address, arguments.images, server)
        save(arguments.out, found)


def save(out: Path, found: dict[str, Any]) -> None:
    import torch

    from benchmarks.measure import machine

    out.write_text(json.dumps(found | {"machine": machine(torch.device("cpu"))}, indent=1, sort_keys=True) + "\n")
    print(json.dumps(found, indent=1))


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="prepare-", dir=folder))
    try:
        yield root
    finally:
        shutil.rmtree(root)


def large(root: Path, form: str, size: int, shape: Shape) -> dict[str, Any]:
    """Make a folder of tables with about `size` bytes of pixels; prepare it."""
    count = write_tables(root / "source", form, size, shape)
    columns = {"image": "image", "label": "label", "groups": "group", "cluster": "person", "example_id": "name"}
    prepared = measured({"name": "table", "path": "source", "columns": columns}, root)
    return {"images": count, "pixel_bytes": count * math.prod(shape), **prepared}


def write_tables(folder: Path, form: str, size: int, shape: Shape, files: int = 8) -> int:
    folder.mkdir()
    rng, per_file, written = np.random.default_rng(0), size // math.prod(shape) // files // ROWS, 0
    for i in range(files):
        schema: pa.Schema | None = None
        for _ in range(max(1, per_file)):
            pixels = rng.integers(0, 256, (ROWS, *shape), dtype=np.uint8)
            numbers = np.arange(written, written + ROWS)
            batch = pa.record_batch(
                {
                    "image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels),
                    "label": pa.array(rng.integers(0, 10, ROWS)),
                    "group": pa.array(np.array(["dark", "light"])[rng.integers(0, 2, ROWS)]),
                    "person": pa.array(numbers),
                    "name": pa.array([f"image-{number:09}" for number in numbers]),
                }
            )
            if schema is None:
                schema = batch.schema
                path = folder / f"{i}.{form}"
                writer = (
                    pa.ipc.new_file(path, schema)
                    if form == "arrow"
                    else pa.parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False)
                )
            writer.write_batch(batch)
            written += ROWS
        writer.close()
    return written


def measured(source: dict[str, Any], root: Path) -> dict[str, Any]:
    """Prepare a source in a new process; return seconds, the most memory, and the digests of what came of it."""
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe()
    process = context.Process(target=_prepare, args=(source, root, ours))
    process.start()
    ours.close()
    try:
        found: dict[str, Any] = theirs.recv()
    finally:
        process.join()
    return found


def _prepare(source: dict[str, Any], root: Path, out: Any) -> None:
    from fair_distill.config import Data
    from fair_distill.data.prepare import plan_splits
    from fair_distill.data.sources import read_source
    from fair_distill.files import sha256
    from fair_distill.workspace import SPLITS as NAMES

    most: dict[str, int] = {}
    done = threading.Event()
    sampler = threading.Thread(target=_sample, args=(most, done))
    sampler.start()
    began, spent = time.perf_counter(), time.process_time()
    data = Data.model_validate({"source": source, "splits": SPLITS})
    read = read_source(data.source.name, data.source.options, root=root)
    planned = plan_splits(read, data, dealing=0, colouring=np.random.default_rng(1))
    keys = time.perf_counter() - began
    paths = {name: root / "prepared" / f"{name}.arrow" for name in NAMES}
    planned.write(paths)
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    done.set()
    sampler.join()
    size = sum(path.stat().st_size for path in paths.values())
    digests = {name: sha256(path)[:16] for name, path in paths.items()} if size < 3e9 else {}
    shutil.rmtree(root / "prepared")
    out.send(
        {
            "seconds": round(seconds, 1),
            "seconds_before_pixels": round(keys, 1),
            "cpu_seconds": round(spent, 1),
            "images_per_second": round(len(read) / seconds),
            "megabytes_per_second": round(size / seconds / 1e6, 1),
            "peak_anonymous_mb": round(most["RssAnon"] / 1024),
            "peak_with_pages_of_files_mb": round(most["VmRSS"] / 1024),
            **({"digests": digests} if digests else {}),
        }
    )


def _sample(most: dict[str, int], done: threading.Event) -> None:
    while not done.wait(0.02):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("RssAnon", "VmRSS"):
                most[name] = max(most.get(name, 0), int(value.split()[0]))


@contextmanager
def bucket(server: Sequence[int] | None) -> Iterator[tuple[str, Sequence[int]]]:
    """A bucket, and the processes of its server: another one's, or moto's in a process of its own."""
    if server is not None:
        yield "s3://fair-distill-images", server
        return
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe()
    process = context.Process(target=_serve, args=(ours,), daemon=True)
    process.start()
    os.environ |= {
        "AWS_ENDPOINT_URL": theirs.recv(),
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        assert process.pid is not None
        yield "s3://images", [process.pid]
    finally:
        process.terminate()
        process.join()


def _serve(out: Any) -> None:
    from moto.server import ThreadedMotoServer

    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # or it would tell of every request
        os.dup2(nowhere, stream)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    out.send(f"http://{host}:{port}")
    threading.Event().wait()


def objects(root: Path, address: str, count: int, server: Sequence[int]) -> dict[str, Any]:
    """Put small PNGs into a bucket; list them, prepare them, and prepare them again."""
    from fair_distill.data.column_builders import TextBuilder
    from fair_distill.data.pixels import Pixels, decode
    from fair_distill.data.remote_files import RemoteFiles, _listing_cuts
    from fair_distill.storage.schemes import open_store

    store: Any = open_store(address, source="here")
    store.client.create_bucket(Bucket=store.bucket)
    sample = [png(i) for i in range(min(count, 2000))]
    filling = seconds(lambda: fill(store, count))
    lines = [f"{i}.png,{'cat' if i % 2 else 'dog'},{'f' if i % 3 else 'm'}" for i in range(count)]
    store.put("about.csv", "\n".join(["file_name,kind,sex", *lines]).encode())
    names = TextBuilder()
    names.add(pa.array([f"{i}.png" for i in range(count)], pa.large_string()))
    source = {
        "name": "image_folder",
        "path": f"{address}/pictures",
        "metadata": f"{address}/about.csv",
        "columns": {"image": "file_name", "label": "kind", "groups": "sex"},
    }
    remote = RemoteFiles.from_url(f"{address}/pictures", cache=root / "unused")
    one_by_one = seconds(remote._listing)
    listing = seconds(lambda: remote._listing(_listing_cuts(names.finish())))
    decoding = seconds(lambda: [decode(content, Pixels(), where="") for content in sample])
    before = cpu_seconds(server)
    first = measured(source, root)
    of_server = cpu_seconds(server) - before
    again = measured(source, root)
    store.put("pictures/0.png", sample[1])
    refreshed = measured(source, root)
    assert first["digests"] == again["digests"] != refreshed["digests"]
    return {
        "images": count,
        "bytes_each": round(sum(map(len, sample)) / len(sample)),
        "put_per_second": round(count / filling),
        "listed_per_second": round(count / listing),
        "listed_per_second_in_one_part": round(count / one_by_one),
        "decoded_per_second_of_one_core": round(len(sample) / decoding),
        "first": {**first, "cpu_seconds_of_the_server": round(of_server, 1)},
        "again": again,
        "one_changed": refreshed,
    }


def png(number: int) -> bytes:
    from PIL import Image

    sink = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def fill(store: Any, count: int) -> None:
    with ThreadPoolExecutor(16) as pool:
        for done in pool.map(lambda i: store.put(f"pictures/{i}.png", png(i)), range(count)):
            assert done is None


def cpu_seconds(processes: Sequence[int]) -> float:
    """Return the CPU seconds of the processes so far, with all threads."""
    spent = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / os.sysconf("SC_CLK_TCK")


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

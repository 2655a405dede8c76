"""Random histories of a registry: processes that publish, promote, take back, collect garbage and load, and are killed.

A history is a function of its seed, but for the order in which the processes get their turns. Each process writes
what it does to a separate file, before and after, so that a kill loses nothing.
"""

import atexit
import json
import multiprocessing
import os
import random
import signal
import time
import warnings
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from faulty import PASSING, proxy
from histories_checker import Record
from places import Bucket, Place
from small_attempts import numbered, request
from small_registry import NAME, NOW, ORDER, Package, package, processes, publish, ship
from test_snapshots import lengthen

from fair_distill.config import Approvals
from fair_distill.errors import ConfigError, FairDistillError, Refused, Undecided
from fair_distill.files import sha256
from fair_distill.registry import lookup, release, retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.approvals import approve
from fair_distill.registry.attempts import reserve
from fair_distill.registry.channels import Withdrawn, current, published
from fair_distill.registry.client import look_up
from fair_distill.registry.client_state import cache_folder
from fair_distill.registry.entry import timestamp
from fair_distill.registry.garbage_collection import GRACE_PERIOD, GarbageRecord, garbage, remove
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import RegistryStore, open_registry
from fair_distill.registry.writer import Writer
from fair_distill.statements import signer
from fair_distill.storage.store import Unanswered

VERSIONS = 5
# What a process does next, and how often of 100 times.
OPERATIONS = {
    "load": 30,
    "promote": 22,
    "publish": 18,
    "rollback": 10,
    "reserve": 8,
    "demote": 6,
    "approve": 6,
    "revoke": 3,
    "gc": 5,
}
# Attempts are made at these splits, which share examples: the numbers of their examples.
SPLITS = (range(80), range(40, 120), range(40))
FAULTS = [fault for fault in PASSING if fault != "time-out"]


@dataclass(frozen=True)
class Plan:
    """The choices of one history.

    Attributes
    ----------
    workers, steps : how many processes, and how many operations each
    deaths : for each process the store call at which it is killed, or 0
    faults : the share of store calls that are not answered
    shipped, entries : the versions in production, and the entries of the ledger at least, when the processes begin
    """

    seed: int
    workers: int
    steps: int
    deaths: tuple[int, ...]
    faults: float
    approvals: bool
    shipped: int
    entries: int

    @classmethod
    def of(cls, seed: int) -> "Plan":
        rng = random.Random(seed)
        workers = rng.choice([8, 8, 8, 8, 12, 16, 24, 32])
        entries = rng.choice([0, 0, 0, 95, 95, 390])
        return cls(
            seed=seed,
            workers=workers,
            steps=max(2, 48 // workers),
            deaths=tuple(rng.randrange(1, 120) if rng.random() < 0.4 else 0 for _ in range(workers)),
            # A long ledger takes more calls, each of which may fail.
            faults=rng.choice([0.0, 0.01, 0.04]) / (10 if entries else 1),
            approvals=rng.random() < 0.3,
            shipped=rng.choice([0, 2, 2, 3]),
            entries=entries,
        )


class WithoutLedger:
    """A store in which nothing can be entered."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    def create(self, key: str, content: bytes) -> bool:
        if key.startswith("ledger/"):
            raise ConfigError("the process has crashed")
        return self._store.create(key, content)


class Perilous:
    """A store whose process is killed at one of its calls, and whose answers are lost now and then."""

    def __init__(self, store: RegistryStore, rng: random.Random, plan: Plan, death: int, *, lossy: bool) -> None:
        self._store, self._rng, self._death = store, rng, death
        self._faults = plan.faults if lossy else 0.0
        self._calls = 0

    def __getattr__(self, verb: str) -> Any:
        attribute = getattr(self._store, verb)
        if verb not in ("create", "read", "exists", "list", "remove"):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            self._calls += 1
            late = self._rng.random() < 0.5
            fatal = self._calls == self._death
            if fatal and not late:
                os.kill(os.getpid(), signal.SIGKILL)
            lost = self._rng.random() < self._faults
            if lost and not late:
                raise Unanswered("the request was lost")
            answer = attribute(*arguments, **options)
            if fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            if lost:
                raise Unanswered("the answer was lost")
            return answer

        return call


def run_history(plan: Plan, place: Place, folder: Path) -> list[Record]:
    """Run a history in an empty place; return what its processes did."""
    made = [package(1000 * plan.seed + i) for i in range(VERSIONS)]
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    with ExitStack() as stack:
        if isinstance(place, Bucket) and plan.faults:
            endpoint, spoiling = stack.enter_context(proxy(place.client.meta.endpoint_url))
            rng = random.Random(plan.seed)
            spoiling.fault = rng.choice(FAULTS)
            spoiling.spoils = lambda number, method, path: rng.random() < plan.faults
            environment["AWS_ENDPOINT_URL"] = endpoint
        before = prepare(plan, place, made)
        starter = _starter()
        starter.send((plan, place.url, environment, str(folder), made, not isinstance(place, Bucket)))
        codes = starter.recv()
    assert set(codes) <= {0, -signal.SIGKILL}, codes
    return before + [record for i in range(plan.workers) for record in read_records(folder / f"{i}.jsonl")]


def prepare(plan: Plan, place: Place, made: list[Package]) -> list[Record]:
    """Ship the first versions and lengthen the ledger as an old client would, without snapshots."""
    for one in made[: plan.shipped]:
        ship(place.store(), one)
    for one in made[plan.shipped :]:
        if plan.seed % 2:  # a publication that crashed before its entry leaves contents for `gc`
            with suppress(ConfigError):
                publish(WithoutLedger(place.store()), one)
    if plan.entries:
        lengthen(place, plan.entries)
    nonces = {entry.nonce for entry in read_ledger(place.store(), NAME)}
    return [Record("prepare", nonce, 0, 1, "done", {}, {}) for nonce in sorted(nonces)]


@cache
def _starter() -> Any:
    """Start the process that starts the others: it has imported everything, and has no threads, so it may fork."""
    here, there = processes().Pipe()
    processes().Process(target=start_workers, args=(there,), daemon=False).start()
    atexit.register(here.send, None)
    return here


def start_workers(connection: Any) -> None:
    """Run the processes of one history after another, until None comes."""
    context = multiprocessing.get_context("fork")
    while (job := connection.recv()) is not None:
        plan, *rest = job
        start = context.Barrier(plan.workers)
        workers = [context.Process(target=work, args=(plan, i, *rest, start)) for i in range(plan.workers)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        connection.send([worker.exitcode for worker in workers])


def read_records(path: Path) -> list[Record]:
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    begun = {line["nonce"]: line for line in lines if "operation" in line}
    ended = {line["nonce"]: line for line in lines if "outcome" in line}
    records = []
    for nonce, line in begun.items():
        end = ended.get(nonce, {"end": None, "outcome": None, "result": {}})
        records.append(
            Record(
                line["operation"], nonce, line["start"], end["end"], end["outcome"], line["arguments"], end["result"]
            )
        )
    return records


def keys(plan: Plan) -> list[str]:
    """Return the public keys of those whose approval production needs in this history."""
    return [_private().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()] if plan.approvals else []


def _private() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(b"7" * 32)


def work(
    plan: Plan,
    number: int,
    url: str,
    environment: dict[str, str],
    folder: str,
    made: list[Package],
    lossy: bool,
    start: Any,
) -> None:
    """Do the operations of one process."""
    os.environ.update(environment)
    os.environ["FAIR_DISTILL_CACHE"] = f"{folder}/cache-{number}"
    os.environ["AWS_MAX_ATTEMPTS"] = "8"
    warnings.simplefilter("ignore")
    rng = random.Random(f"{plan.seed} {number}")
    store = Perilous(open_registry(url), rng, plan, plan.deaths[number], lossy=lossy)
    lookup.open_registry = lambda _: store  # type: ignore[assignment, return-value]
    worker = Worker(plan, number, url, Path(folder), made, rng, Writer(store, url, cache_folder()))
    start.wait()
    for step in range(plan.steps):
        worker.step(step)


class Worker:
    """One process of a history: chooses operations, does them, and writes down what came of them."""

    def __init__(
        self, plan: Plan, number: int, url: str, folder: Path, made: list[Package], rng: random.Random, store: Any
    ) -> None:
        self.plan, self.number, self.url, self.made, self.rng, self.store = plan, number, url, made, rng, store
        self.log = os.open(folder / f"{number}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        pem = folder / f"{number}.pem"
        pem.write_bytes(_private().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.sign = signer(pem) if plan.approvals else None
        public = [f"ed25519:{key}" for key in keys(plan)]
        self.approvals = {"production": Approvals(at_least=1, by=public)} if public else {}
        self.look: GarbageRecord | None = None

    def write(self, **line: Any) -> None:
        os.write(self.log, (json.dumps(line) + "\n").encode())

    def step(self, step: int) -> None:
        operation = self.rng.choices(list(OPERATIONS), list(OPERATIONS.values()))[0]
        if step == 0 and self.plan.shipped <= self.number < VERSIONS:
            operation = "publish"
        one = self.rng.choices(self.made, [4, 4, 4, 2, 1])[0]
        channel = self.rng.choices(ORDER, [1, 1, 2])[0]
        arguments: dict[str, Any] = {"version": one.version, "channel": channel}
        if operation == "load":
            selector = self.rng.choice([*ORDER, "production", f"v{self.rng.randrange(1, VERSIONS + 1)}"])
            ago = timedelta(seconds=self.rng.randrange(1, 30))
            moment = timestamp(self.now() - ago) if self.rng.random() < 0.25 else None
            arguments = {"selector": selector, "moment": moment}
        nonce = f"{self.number}-{step}"
        self.write(nonce=nonce, operation=operation, arguments=arguments, start=time.monotonic_ns())
        outcome, result = self.attempt(operation, one, channel, arguments, nonce)
        self.write(nonce=nonce, outcome=outcome, result=result, end=time.monotonic_ns())

    def attempt(
        self, operation: str, one: Package, channel: str, arguments: dict[str, Any], nonce: str
    ) -> tuple[str, dict[str, Any]]:
        try:
            if operation == "load":
                return "done", self.load(**arguments)
            actor = Actor(f"process {self.number}", self.now(), nonce)
            return "done", getattr(self, operation)(one, channel, actor)
        except FairDistillError as error:
            kinds = {Withdrawn: "withdrawn", Unanswered: "unanswered", Refused: "refused", Undecided: "refused"}
            kinds[ConfigError] = "nothing" if operation == "load" else "refused"
            outcome = next((outcome for kind, outcome in kinds.items() if isinstance(error, kind)), "fault")
            return outcome, {"error": f"{type(error).__name__}: {error}"}

    def now(self) -> datetime:
        """The time of a history: ten seconds a second, the same in all its processes."""
        return NOW + timedelta(days=10, seconds=time.monotonic_ns() // 10**8)

    def load(self, selector: str, moment: str | None) -> dict[str, Any]:
        found = look_up(f"{NAME}@{selector}", registry=self.url, as_of=moment)
        return {"version": found.version, "images": sha256(found.set.images.tobytes()), "head": found.head.number}

    def publish(self, one: Package, channel: str, actor: Actor) -> dict[str, Any]:
        beside = {"predictions": one.predictions, "provenance": one.provenance}
        done = release.publish(self.store, NAME, one.manifest, one.files, **beside, actor=actor)
        return {"number": done.number, "new": done.new}

    def promote(self, one: Package, channel: str, actor: Actor) -> dict[str, Any]:
        grounds = {"verdict": one.verdict, "verdict_bytes": one.verdict_bytes, "approvals": self.approvals}
        done = release.promote(self.store, NAME, one.version, channel, order=ORDER, **grounds, actor=actor)
        return {"entries": [entry.number for entry in done.entries]}

    def approve(self, one: Package, channel: str, actor: Actor) -> dict[str, Any]:
        if self.sign:
            approve(self.store, NAME, one.version, policy=one.verdict.policy, sign=self.sign)
        return {}

    def reserve(self, one: Package, channel: str, actor: Actor) -> dict[str, Any]:
        """Reserve an attempt for a model, with or without predictions."""
        numbers = self.rng.choice(SPLITS)
        predictions = self.rng.choice([None, None, "a" * 64, "b" * 64])
        wanted = request(
            numbered(numbers), version=self.rng.randrange(3), predictions=predictions, planned=self.rng.choice([1, 5])
        )
        made = reserve(self.store, wanted, actor=actor)
        return {"attempt": made.entry.number, "predictions": predictions}

    def rollback(self, one: Package, channel: str, actor: Actor) -> dict[str, Any]:
        return {"entries": [retraction.rollback(self.store, NAME, channel, reason="worse", actor=actor).number]}

    def demote(self, one: Package, channel: str, actor: Actor) -> dict[str, Any]:
        version = current(read_ledger(self.store, NAME), channel) or one.version
        return {"entries": [retraction.demote(self.store, NAME, version, channel, reason="policy", actor=actor).number]}

    def revoke(self, one: Package, channel: str, actor: Actor) -> dict[str, Any]:
        retraction.revoke(self.store, NAME, one.version, reason="labels", actor=actor)
        return {}

    def gc(self, one: Package, channel: str, actor: Actor) -> dict[str, Any]:
        """GarbageRecord, or remove what was seen at the last look, which was a day ago."""
        if self.look is None:
            if not published(read_ledger(self.store, NAME)):
                return {}
            self.look = GarbageRecord(actor.now - GRACE_PERIOD - timedelta(hours=1), garbage(self.store, now=actor.now))
            return {"keys": len(self.look.keys)}
        gone = remove(self.store, self.look, now=actor.now, delete=self.store.remove)
        self.look = None
        return {"gone": len(gone)}

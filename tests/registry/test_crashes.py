"""kill -9 between any two steps of publishing and promoting: before or after, and the same command completes it."""

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from places import FULLY, Bucket
from small_registry import NAME, ORDER, events, files_of, local_registry, package, processes, ship

from fair_distill.errors import ConfigError
from fair_distill.registry.client import load
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import CheckedStore, RegistryStore, open_registry
from fair_distill.registry.verify import verify
from fair_distill.storage import local
from fair_distill.storage.local import LocalStore

OLD, NEW = package(1), package(2)
# the announcement; the set and three files for DVC; predictions, provenance, manifest, ledger; verdict, and the ledger
# once a channel
STEPS = 13


class Dying(LocalStore):
    """Kills its process around the create that `step` counts to: its bytes lie aside, or have their name too."""

    def __init__(self, root: Path, step: int, moment: str) -> None:
        super().__init__(root, follow_links=False)
        self.left, self.moment = step, moment

    def create(self, key: str, content: bytes, *, max_clock_skew: timedelta | None = None) -> bool:
        self.left -= 1
        if self.left == 0 and self.moment == "written aside":
            local._link = lambda aside, path: die()
        created = super().create(key, content, max_clock_skew=max_clock_skew)
        if self.left == 0:
            die()
        return created


def die() -> bool:
    os.kill(os.getpid(), signal.SIGKILL)
    return False


def _ship_and_die(root: str, step: int, moment: str) -> None:
    ship(CheckedStore(Dying(Path(root), step, moment)), NEW)


def run_until(root: Path, step: int, moment: str) -> int | None:
    """Ship the new version in a process that is killed at `step`; return its exit code."""
    process = processes().Process(target=_ship_and_die, args=(str(root), step, moment))
    process.start()
    process.join(60)
    return process.exitcode


def shipped(made: object) -> list[tuple[str, str | None, str]]:
    return [("publish", None, made.version), *(("promote", channel, made.version) for channel in ORDER)]


@pytest.mark.parametrize("moment", ["written aside", "named"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
@pytest.mark.parametrize("before", [[], [OLD]], ids=["nothing before", "a version before"])
def test_a_killed_release_is_before_or_after_and_the_same_command_completes_it(
    root: Path, before: list, step: int, moment: str
):
    store = local_registry(root)
    for made in before:
        ship(store, made)

    assert run_until(root, step, moment) == -signal.SIGKILL

    done = events(read_ledger(store, NAME))
    assert done == [event for made in [*before, NEW] for event in shipped(made)][: len(done)]
    in_force = NEW if ("promote", "production", NEW.version) in done else next(iter(before), None)
    if in_force:
        assert load(f"{NAME}@production", registry=str(root)).images.tobytes() == in_force.set.images.tobytes()
    else:
        with pytest.raises(ConfigError):
            load(f"{NAME}@production", registry=str(root))
    if done:
        assert verify(NAME, registry=str(root))

    ship(store, NEW)

    assert events(read_ledger(store, NAME)) == [event for made in [*before, NEW] for event in shipped(made)]
    assert load(f"{NAME}@production", registry=str(root)).images.tobytes() == NEW.set.images.tobytes()
    assert verify(NAME, registry=str(root))


class DyingAfter:
    """Kills its process after the create that `step` counts to, of any store."""

    def __init__(self, store: RegistryStore, step: int) -> None:
        self.store, self.left = store, step

    def __getattr__(self, verb: str) -> Any:
        return getattr(self.store, verb)

    def create(self, key: str, content: bytes) -> bool:
        created = self.store.create(key, content)
        self.left -= 1
        if self.left == 0:
            die()
        return created


def _ship_there_and_die(url: str, environment: dict[str, str], step: int) -> None:
    os.environ.update(environment)
    ship(DyingAfter(open_registry(url), step), NEW)


@pytest.mark.parametrize("step", range(1, STEPS + 1) if FULLY else [9, 12])
def test_a_release_to_a_server_that_is_killed_is_before_or_after_and_the_same_command_completes_it(
    server: Bucket, step: int
):
    ship(server.store(), OLD)
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}

    process = processes().Process(target=_ship_there_and_die, args=(server.url, environment, step))
    process.start()
    process.join(120)

    assert process.exitcode == -signal.SIGKILL
    whole = [*shipped(OLD), *shipped(NEW)]
    done = events(read_ledger(server.store(), NAME))
    assert done == whole[: len(done)]
    in_force = NEW if done == whole else OLD
    assert load(f"{NAME}@production", registry=server.url).images.tobytes() == in_force.set.images.tobytes()
    assert verify(NAME, registry=server.url)
    ship(server.store(), NEW)
    assert events(read_ledger(server.store(), NAME)) == whole
    assert load(f"{NAME}@production", registry=server.url).images.tobytes() == NEW.set.images.tobytes()


def test_the_steps_above_are_all_there_are(root: Path):
    assert run_until(root, STEPS + 1, "named") == 0

    content = files_of(root)
    assert len(content) == STEPS
    ship(local_registry(root), NEW)
    assert files_of(root) == content

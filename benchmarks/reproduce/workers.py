"""Parallel measurements in several processes. One small network uses only a part of a GPU or of two cores."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any

from benchmarks.reproduce.measure import Clock, Job, MeasurementPlan, measure

Outcome = dict[str, Any] | Exception


def work(
    jobs: Sequence[Job], plan: MeasurementPlan, *, workers: int, clock: Clock, stopping: Callable[[], bool]
) -> Iterator[tuple[Job, Outcome]]:
    """Yield each job with its measurement, or with the exception that ended it, in the order of completion.

    Parameters
    ----------
    stopping : called before every start; measurements that have started are finished and yielded
    """
    if workers == 1:
        for job in jobs:
            if stopping():
                return
            yield job, _outcome(job, plan, clock)
        return
    pending = list(reversed(jobs))
    running: dict[Future[dict[str, Any]], Job] = {}
    # Processes are spawned, because a process that uses a GPU cannot be forked.
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        while running or (pending and not stopping()):
            while pending and len(running) < workers and not stopping():
                job = pending.pop()
                running[pool.submit(measure, job, plan, clock)] = job
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), _result(future)


def _outcome(job: Job, plan: MeasurementPlan, clock: Clock) -> Outcome:
    try:
        return measure(job, plan, clock)
    except Exception as error:  # One failure must not lose the other measurements.
        return error


def _result(future: Future[dict[str, Any]]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error

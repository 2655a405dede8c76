"""Many measurements, in so many processes: small networks keep neither a card nor two cores busy by themselves."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any

from benchmarks.reproduce.measure import Clock, Job, MeasurementPlan, measured

Outcome = dict[str, Any] | Exception


def work(
    jobs: Sequence[Job], plan: MeasurementPlan, *, workers: int, clock: Clock, stopping: Callable[[], bool]
) -> Iterator[tuple[Job, Outcome]]:
    """Yield each job with its measurement as it comes, or with the exception that ended it.

    Parameters
    ----------
    stopping : asked before every start; what was started is still finished and yielded
    """
    if workers == 1:
        for job in jobs:
            if stopping():
                return
            yield job, _outcome(job, plan, clock)
        return
    todo = list(reversed(jobs))
    running: dict[Future[dict[str, Any]], Job] = {}
    # Not forked: a process that has touched a GPU cannot be.
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        while running or (todo and not stopping()):
            while todo and len(running) < workers and not stopping():
                job = todo.pop()
                running[pool.submit(measured, job, plan, clock)] = job
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                yield running.pop(future), _result(future)


def _outcome(job: Job, plan: MeasurementPlan, clock: Clock) -> Outcome:
    try:
        return measured(job, plan, clock)
    except Exception as error:  # one that fails is no reason to lose the others
        return error


def _result(future: Future[dict[str, Any]]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error

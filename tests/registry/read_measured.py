"""Read a registry as a command does; print the exit code and by how many megabytes the process grew.

Run as a script by `test_bombs`, in a process of its own whose address space is limited.
"""

import resource
import sys

LIMIT = int(sys.argv[4]) * 2**20 if len(sys.argv) > 4 else 0


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    import pyarrow.parquet  # noqa: F401

    from fair_distill.errors import FairDistillError
    from fair_distill.registry.client import load
    from fair_distill.registry.verify import verify

    if LIMIT:
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    call, registry, reference = sys.argv[1:4]
    before = peak()
    try:
        {"load": load, "verify": verify}[call](reference, registry=registry)
        code, line = 0, "ok"
    except FairDistillError as error:
        code, line = error.exit_code, str(error)
    except MemoryError:
        code, line = 70, "MemoryError"
    print(code, peak() - before, line)


if __name__ == "__main__":
    main()

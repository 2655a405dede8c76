"""One's own modules: a file beside params.yaml may be named in it, as `module:callable`."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def modules_beside(folder: Path) -> Iterator[None]:
    """Let modules that lie in `folder` be imported; afterwards all is as it was.

    They are looked for last, so that no file of a workspace stands in for a library. They are forgotten at the end, so
    that of two commands in one process each has its own workspace's.
    """
    here, path, before = folder.resolve(), list(sys.path), set(sys.modules)
    sys.path.append(str(here))
    importlib.invalidate_caches()  # a file that was written a moment ago is there
    try:
        yield
    finally:
        sys.path[:] = path
        for name in _found_in(here, set(sys.modules) - before):
            del sys.modules[name]


def _found_in(folder: Path, names: set[str]) -> list[str]:
    """Return those names whose outermost package or module is among them and lies in the folder itself."""
    tops = set()
    for name in names:
        spec = None if "." in name else getattr(sys.modules[name], "__spec__", None)
        places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
        if any(Path(place).parent == folder for place in places):
            tops.add(name)
    return [name for name in names if name.partition(".")[0] in tops]

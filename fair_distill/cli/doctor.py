"""`fair-distill doctor`: what is missing on this machine and in this workspace, with a way out for each failed line.

A check never raises and never leaves anything behind but one small object in an S3 registry, `doctor/create-only`:
whether a store writes once and never again can only be seen by trying. Not for: whether the data are any good, which is
`data describe`.
"""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fair_distill.cli.arguments import Arguments, Commands, add_command, add_device, add_json, add_registry
from fair_distill.cli.show import print_json, say
from fair_distill.errors import FairDistillError

if TYPE_CHECKING:
    from fair_distill.registry.store import RegistryStore
    from fair_distill.storage.store import Store

State = Literal["ok", "note", "fail"]
EXTRAS = {
    "distill": ("torch", "pot", "safetensors", "scikit-learn", "pillow"),
    "validate": ("great-expectations", "pandas"),
    "report": ("jinja2", "pillow"),
    "pipeline": ("prefect", "dvc"),
    "sign": ("securesystemslib",),
}
LEAST_DISK_GB, LEAST_MEMORY_GB = 2.0, 2.0
_PROBE = "doctor/create-only"
_MARK = b"fair-distill doctor: written once\n"
_PATIENCE_SECONDS = 5
_SIGNS = {"ok": "ok  ", "note": "note", "fail": "FAIL"}


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, and what to do about it; `fix` is empty where all is well."""

    name: str
    state: State
    found: str
    fix: str = ""


def add_commands(commands: Commands) -> None:
    sub = add_command(
        commands, "doctor", _doctor, "say what is missing here, and how to mend it; exits 2 if anything is"
    )
    add_device(sub)
    add_registry(sub)
    add_json(sub)


def _doctor(arguments: Arguments) -> int:
    checks = list(examine(arguments.workspace, registry=arguments.registry, device=arguments.device))
    failed = sum(check.state == "fail" for check in checks)
    if arguments.json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            say(f"{_SIGNS[check.state]}  {check.name + ':':18} {check.found}")
            if check.fix:
                say(f"      {'':19}→ {check.fix}")
        say(f"{failed} of {len(checks)} checks failed" if failed else f"{len(checks)} checks, none failed")
    return 2 if failed else 0


def examine(workspace: Path, *, registry: str, device: str) -> Iterator[Check]:
    """Yield every check, one after the other."""
    yield _python()
    yield from _extras()
    yield _torch(device)
    yield _params(workspace)
    yield from _remotes(workspace)
    yield _writes(registry)
    yield _checkpoints()
    yield _prefect(os.environ.get("PREFECT_API_URL"))
    yield _disk(workspace)
    yield _memory()


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    return Check("Python", "ok", found)


def _extras() -> Iterator[Check]:
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if _version(name) is None]
        if missing:
            fix = f"pip install 'fair-distill[{extra}]', if it is to be used here"
            yield Check(f"extra [{extra}]", "note", f"not installed: {', '.join(missing)}", fix)
        else:
            shown = ", ".join(f"{name} {_version(name)}" for name in packages)
            yield Check(f"extra [{extra}]", "ok", shown)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch(device: str) -> Check:
    if _version("torch") is None:
        return Check("device", "note", "no torch, so nothing is distilled here")
    try:
        import torch

        from fair_distill.stages.device import torch_device

        torch_device(device, threads=1)
    except (FairDistillError, ImportError, OSError) as error:
        fix = "say --device cpu (or FAIR_DISTILL_DEVICE=cpu), or install the torch build and driver for this device"
        return Check("device", "fail", str(error), fix)
    if not torch.cuda.is_available():
        return Check("device", "ok", f"{device}; no CUDA device is seen")
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Check("device", "ok", f"{device}; CUDA {torch.version.cuda} sees {names}")


def _params(workspace: Path) -> Check:
    from fair_distill.config import load_config
    from fair_distill.workspace import Workspace

    try:
        config = load_config(Workspace(workspace).params)
    except FairDistillError as error:
        return Check("params.yaml", "fail", str(error), "mend that key, or begin with `fair-distill init DIR`")
    sets = f"{len(config.candidates)} candidates, {len(config.references)} references"
    return Check("params.yaml", "ok", f"dataset {config.dataset!r}, {sets}")


def _remotes(workspace: Path) -> Iterator[Check]:
    if _version("dvc") is None:
        yield Check("DVC remotes", "note", "no dvc, so sets are not shared through it from here")
        return
    from fair_distill.versioning.dvc_commands import dvc_settings

    try:
        settings = dvc_settings(workspace)
    except FairDistillError as error:
        yield Check("DVC remotes", "fail", str(error), "run `git init && dvc init` in the workspace")
        return
    urls = {
        key.removeprefix("remote.").removesuffix(".url"): url
        for key, url in settings.items()
        if key.startswith("remote.") and key.endswith(".url")
    }
    if not urls:
        fix = "dvc remote add --default shared s3://bucket/prefix, so that others can `dvc pull`"
        yield Check("DVC remotes", "note", "none", fix)
    default = settings.get("core.remote")
    for name, url in urls.items():
        what = f"DVC remote {name}" + ("*" if name == default else "")
        endpoint = settings.get(f"remote.{name}.endpointurl")
        address = f"{url}?endpoint={endpoint}" if endpoint else url
        made_by = "fair-distill publish" if name == "published" else "dvc push"
        yield _reached(what, address, at=workspace / ".dvc", shown=url, made_by=made_by)


def _reached(what: str, url: str, *, at: Path, shown: str, made_by: str = "dvc push") -> Check:
    """Say whether an address answers: a folder may be written, a bucket lets itself be listed."""
    from fair_distill.storage.schemes import is_supported, open_store

    if "://" in url and is_supported(url):
        try:
            open_store(url, source=what).list("files/", limit=1)
        except FairDistillError as error:
            return Check(what, "fail", str(error), _CREDENTIALS)
        return Check(what, "ok", f"{shown} answers")
    if "://" in url:
        return Check(what, "note", f"{shown} is not checked: its scheme is not supported")
    folder = _nearest(at / url)
    if not os.access(folder, os.W_OK):
        return Check(
            what, "fail", f"{folder} may not be written", "give yourself the right, or change the remote's url"
        )
    there = "" if (at / url).exists() else f", which `{made_by}` makes"
    return Check(what, "ok", f"{(at / url).resolve()}{there}")


_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE), and AWS_ENDPOINT_URL if it is not Amazon"
)


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder


def _writes(registry: str) -> Check:
    """See whether the registry writes once and never again, by trying: everything in it rests on that."""
    from fair_distill.registry.store import REGISTRY_VARIABLE
    from fair_distill.storage.local import LocalStore
    from fair_distill.storage.schemes import open_store
    from fair_distill.storage.store import Options

    fix = "publishing needs it, consumers do not; change --registry or FAIR_DISTILL_REGISTRY"
    try:
        source = f"--registry or {REGISTRY_VARIABLE}"
        store = open_store(registry, source=source, options=Options(follow_links=False))
        if not isinstance(store, LocalStore):
            store.list("ledger/")
            return _written_once(store, registry, fix=_CREDENTIALS)
        folder = _nearest(store.root)
        # Hidden, so that no reader of the registry sees it; beside what is there, so that it is the same file system.
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as beside:
            there = "" if store.root.exists() else " (to be made by the first `publish`)"
            return _written_once(LocalStore(Path(beside)), f"{registry}{there}", fix=fix)
    except FairDistillError as error:
        return Check("registry", "fail", str(error), _CREDENTIALS if "://" in registry else fix)
    except OSError as error:
        return Check("registry", "fail", f"{registry}: {error.strerror}", fix)


def _written_once(store: "Store | RegistryStore", shown: str, *, fix: str) -> Check:
    try:
        store.create(_PROBE, _MARK)
        again = store.create(_PROBE, b"written twice\n")
        kept = store.read(_PROBE) == _MARK
    except FairDistillError as error:
        return Check("registry", "fail", str(error), fix)
    if again or not kept:
        return Check(
            "registry", "fail", f"{shown} lets a key be written twice", "use a store that honours If-None-Match"
        )
    return Check("registry", "ok", f"{shown} writes once and never again")


def _checkpoints() -> Check:
    url = os.environ.get("FAIR_DISTILL_CHECKPOINTS")
    if url is None:
        return Check("checkpoints", "ok", "in the workspace's .checkpoints")
    return _reached("checkpoints", url, at=Path(), shown=url, made_by="fair-distill distill")


def _prefect(url: str | None, *, ask: Callable[[str], int] | None = None) -> Check:
    if url is None:
        return Check("Prefect API", "ok", "PREFECT_API_URL is not set: flows start a server of their own")
    try:
        status = (ask or _status)(f"{url.rstrip('/')}/health")
    except (OSError, ValueError) as error:
        return Check("Prefect API", "fail", f"{url}: {error}", "start `prefect server start`, or unset PREFECT_API_URL")
    if status != 200:
        return Check("Prefect API", "fail", f"{url} answers {status}", "set PREFECT_API_KEY, or mend PREFECT_API_URL")
    return Check("Prefect API", "ok", f"{url} answers")


def _status(url: str) -> int:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    if not url.startswith(("http://", "https://")):
        raise ValueError("an http:// or https:// address was wanted")
    key = os.environ.get("PREFECT_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urlopen(Request(url, headers=headers), timeout=_PATIENCE_SECONDS) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def _disk(workspace: Path) -> Check:
    free = shutil.disk_usage(_nearest(workspace)).free / 1e9
    if free < LEAST_DISK_GB:
        fix = "make room: `dvc gc --workspace` removes what no stage of this workspace needs"
        return Check("disk", "fail", f"{free:.1f} GB free", fix)
    return Check("disk", "ok", f"{free:,.1f} GB free")


def _memory() -> Check:
    free = _free_memory_gb()
    if free is None:
        return Check("memory", "note", "how much is free cannot be seen here")
    if free < LEAST_MEMORY_GB:
        fix = "stop what else runs, or lower distill.real_per_class; `fair-distill estimate` says what is needed"
        return Check("memory", "fail", f"{free:.1f} GB free", fix)
    return Check("memory", "ok", f"{free:,.1f} GB free")


def _free_memory_gb(meminfo: Path = Path("/proc/meminfo")) -> float | None:
    """What may be had without swapping; within a container's limit, where there is one."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        free = min(free, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):  # no limit, or no cgroup
        pass
    return free / 1e9

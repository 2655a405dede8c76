"""`fair-distill doctor`: check this machine and this workspace, and print a fix for each problem.

A check never raises and leaves nothing behind, with one exception: it writes the small object `doctor/create-only` to
an S3 registry, because only an attempt shows whether a store refuses to overwrite. Whether the data are suitable is
not checked here; see `fair-distill data describe`.
"""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fair_distill.cli.arguments import add_device, add_json, add_registry
from fair_distill.cli.output import print_json, print_line
from fair_distill.cli.parser import Arguments, Parser
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
# Registries hold this object with this content already, so neither may change.
_PROBE = "doctor/create-only"
_PROBE_CONTENT = b"fair-distill doctor: written once\n"
_TIMEOUT_SECONDS = 5
_SIGNS = {"ok": "ok  ", "note": "note", "fail": "FAIL"}
_S3_FIX = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE); set AWS_ENDPOINT_URL if it is not Amazon S3"
)


@dataclass(frozen=True)
class Check:
    """The result of one check, and how to fix it; `fix` is empty if nothing needs to be done."""

    name: str
    state: State
    result: str
    fix: str = ""


def add_commands(parser: Parser) -> None:
    """Add the command."""
    command = parser.add_command(
        "doctor",
        _doctor,
        "check this machine and workspace; print a fix for each problem",
        details="It exits with code 2 if a check fails.",
        examples=[
            ("fair-distill doctor", "check this machine and this workspace"),
            ("fair-distill doctor --registry s3://bucket/registry", "can this machine publish to that registry?"),
        ],
    )
    add_device(command)
    add_registry(command)
    add_json(command)


def _doctor(arguments: Arguments) -> int:
    checks = list(examine(arguments.workspace, registry=arguments.registry, device=arguments.device))
    failures = sum(check.state == "fail" for check in checks)
    if arguments.json:
        print_json([{"name": c.name, "state": c.state, "found": c.result, "fix": c.fix} for c in checks])
    else:
        for check in checks:
            print_line(f"{_SIGNS[check.state]}  {check.name + ':':18} {check.result}")
            if check.fix:
                print_line(f"      {'':19}→ {check.fix}")
        print_line(f"{failures} of {len(checks)} checks failed" if failures else f"{len(checks)} checks, none failed")
    return 2 if failures else 0


def examine(workspace: Path, *, registry: str, device: str) -> Iterator[Check]:
    """Yield the result of every check."""
    yield _python()
    yield from _extras()
    yield _torch(device)
    yield _params(workspace)
    yield from _flows(workspace)
    yield from _remotes(workspace)
    yield _registry(registry)
    yield _checkpoints()
    yield _prefect(os.environ.get("PREFECT_API_URL"))
    yield _disk(workspace)
    yield _memory()


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _extras() -> Iterator[Check]:
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if _version(name) is None]
        if missing:
            fix = f"if you use it on this machine: pip install 'fair-distill[{extra}]'"
            yield Check(f"extra [{extra}]", "note", f"not installed: {', '.join(missing)}", fix)
        else:
            versions = ", ".join(f"{name} {_version(name)}" for name in packages)
            yield Check(f"extra [{extra}]", "ok", versions)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch(device: str) -> Check:
    if _version("torch") is None:
        return Check("device", "note", "torch is not installed, so this machine cannot distil")
    try:
        import torch

        from fair_distill.stages.device import torch_device

        torch_device(device, threads=1)
    except (FairDistillError, ImportError, OSError) as error:
        fix = "pass --device cpu (or set FAIR_DISTILL_DEVICE=cpu), or install torch and the driver for this device"
        return Check("device", "fail", str(error), fix)
    if not torch.cuda.is_available():
        return Check("device", "ok", f"{device}; torch finds no CUDA device")
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Check("device", "ok", f"{device}; CUDA {torch.version.cuda} finds {names}")


def _params(workspace: Path) -> Check:
    from fair_distill.config import check_engine, load_config
    from fair_distill.workspace import Workspace

    try:
        config = load_config(Workspace(workspace).params)
    except FairDistillError as error:
        return Check(
            "params.yaml", "fail", str(error), "correct that key, or create a workspace: fair-distill init DIR"
        )
    try:
        check_engine(config)
    except FairDistillError as error:
        problem, _, fix = str(error).partition("; ")
        return Check("params.yaml", "fail", problem, fix)
    sets = f"{len(config.candidates)} candidates, {len(config.references)} references"
    return Check("params.yaml", "ok", f"dataset {config.dataset!r}, {sets}")


def _flows(workspace: Path) -> Iterator[Check]:
    """Compare the flows in the workspace, if there are any, with those of the installed package."""
    from fair_distill.cli.schedule import flow_files, is_scheduled, schedule_faults

    if not is_scheduled(workspace):
        return
    try:
        faults = list(schedule_faults(workspace))
    except FairDistillError as error:
        faults = [(str(error), f"run `fair-distill init --schedule {workspace}`")]
    for result, fix in faults:
        yield Check("flows", "fail", result, fix)
    if not faults:
        yield Check("flows", "ok", f"{len(flow_files())} files of fair-distill {version('fair-distill')}")


def _remotes(workspace: Path) -> Iterator[Check]:
    if _version("dvc") is None:
        yield Check("DVC remotes", "note", "DVC is not installed, so this machine cannot push or pull results")
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
        fix = "to share results: dvc remote add --default shared s3://bucket/prefix"
        yield Check("DVC remotes", "note", "none", fix)
    default = settings.get("core.remote")
    for name, url in urls.items():
        title = f"DVC remote {name}" + ("*" if name == default else "")
        endpoint = settings.get(f"remote.{name}.endpointurl")
        address = f"{url}?endpoint={endpoint}" if endpoint else url
        created_by = "fair-distill publish" if name == "published" else "dvc push"
        yield _reachable(title, address, base=workspace / ".dvc", shown_url=url, created_by=created_by)


def _reachable(title: str, url: str, *, base: Path, shown_url: str, created_by: str) -> Check:
    """Check that a location can be used: that a folder is writable, or that a bucket can be listed.

    Parameters
    ----------
    base : the folder to which a relative `url` is relative
    shown_url : the URL to print, without the endpoint
    created_by : the command that creates a missing folder
    """
    from fair_distill.storage.schemes import is_supported, open_store

    if "://" in url and not is_supported(url):
        return Check(title, "note", f"{shown_url} is not checked, because its scheme is not supported")
    if "://" in url:
        try:
            store = open_store(url, source=title)
            if store.remote:
                store.list("files/", limit=1)
                return Check(title, "ok", f"{shown_url} can be listed")
        except FairDistillError as error:
            return Check(title, "fail", str(error), _S3_FIX)
        url = store.address()  # the folder of a file:// URL
    folder = _nearest_existing(base / url)
    if not os.access(folder, os.W_OK):
        return Check(title, "fail", f"{folder} is not writable", "make it writable, or change the URL of the remote")
    missing = "" if (base / url).exists() else f" (`{created_by}` will create it)"
    return Check(title, "ok", f"{(base / url).resolve()}{missing}")


def _nearest_existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder


def _registry(url: str) -> Check:
    """Check, by an attempt, that the registry refuses to overwrite a key. The ledger relies on it."""
    from fair_distill.registry.store import REGISTRY_VARIABLE
    from fair_distill.storage.local import LocalStore
    from fair_distill.storage.schemes import open_store
    from fair_distill.storage.store import Options

    fix = "only publishers need write access; to publish, change --registry or FAIR_DISTILL_REGISTRY"
    try:
        source = f"--registry or {REGISTRY_VARIABLE}"
        store = open_store(url, source=source, options=Options(follow_links=False))
        if not isinstance(store, LocalStore):
            store.list("ledger/")
            return _refuses_to_overwrite(store, url, fix=_S3_FIX)
        parent = _nearest_existing(store.root)
        # The folder is hidden, so readers of the registry ignore it, and it is on the same file system.
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=parent) as folder:
            missing = "" if store.root.exists() else " (`fair-distill publish` will create it)"
            return _refuses_to_overwrite(LocalStore(Path(folder)), f"{url}{missing}", fix=fix)
    except FairDistillError as error:
        return Check("registry", "fail", str(error), _S3_FIX if "://" in url else fix)
    except OSError as error:
        return Check("registry", "fail", f"{url}: {error.strerror}", fix)


def _refuses_to_overwrite(store: "Store | RegistryStore", url: str, *, fix: str) -> Check:
    try:
        store.create(_PROBE, _PROBE_CONTENT)
        overwritten = store.create(_PROBE, b"written twice\n")
        unchanged = store.read(_PROBE) == _PROBE_CONTENT
    except FairDistillError as error:
        return Check("registry", "fail", str(error), fix)
    if overwritten or not unchanged:
        return Check("registry", "fail", f"{url} overwrites existing keys", "use a store that supports If-None-Match")
    return Check("registry", "ok", f"{url} is writable and refuses to overwrite")


def _checkpoints() -> Check:
    url = os.environ.get("FAIR_DISTILL_CHECKPOINTS")
    if url is None:
        return Check("checkpoints", "ok", "the folder .checkpoints in the workspace")
    return _reachable("checkpoints", url, base=Path(), shown_url=url, created_by="fair-distill stage distill")


def _prefect(url: str | None, *, request: Callable[[str], int] | None = None) -> Check:
    if url is None:
        return Check("Prefect API", "ok", "PREFECT_API_URL is not set; each flow starts a temporary server")
    try:
        status = (request or _status)(f"{url.rstrip('/')}/health")
    except (OSError, ValueError) as error:
        return Check("Prefect API", "fail", f"{url}: {error}", "run `prefect server start`, or unset PREFECT_API_URL")
    if status != 200:
        return Check(
            "Prefect API", "fail", f"{url} answers {status}", "set PREFECT_API_KEY, or correct PREFECT_API_URL"
        )
    return Check("Prefect API", "ok", f"{url} answers")


def _status(url: str) -> int:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    if not url.startswith(("http://", "https://")):
        raise ValueError("the URL must start with http:// or https://")
    key = os.environ.get("PREFECT_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urlopen(Request(url, headers=headers), timeout=_TIMEOUT_SECONDS) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def _disk(workspace: Path) -> Check:
    free = shutil.disk_usage(_nearest_existing(workspace)).free / 1e9
    if free < LEAST_DISK_GB:
        fix = "free some space: `dvc gc --workspace` removes results that no stage of this workspace uses"
        return Check("disk", "fail", f"{free:.1f} GB free", fix)
    return Check("disk", "ok", f"{free:,.1f} GB free")


def _memory() -> Check:
    free = _free_memory_gb()
    if free is None:
        return Check("memory", "note", "cannot measure the free memory of this machine")
    if free < LEAST_MEMORY_GB:
        fix = "stop other programs, or lower distill.real_per_class; see `fair-distill stage estimate`"
        return Check("memory", "fail", f"{free:.1f} GB free", fix)
    return Check("memory", "ok", f"{free:,.1f} GB free")


def _free_memory_gb(meminfo: Path = Path("/proc/meminfo")) -> float | None:
    """Return the memory available without swapping, within the limit of the container if there is one."""
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

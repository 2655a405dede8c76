"""`registry list`, `status`, `consumers` and `revoke`: what is live, on which grounds, and whom it affects."""

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from places import Bucket
from small_attempts import numbered, take
from small_registry import NAME, NOW, local_registry, package, publish, put_in_place, ship
from small_workspace import Ended, run, tree

from fair_distill.errors import ConfigError, FairDistillWarning, IntegrityError
from fair_distill.files import sha256, to_json
from fair_distill.registry import retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.client import load
from fair_distill.registry.entry import entry_key
from fair_distill.registry.pins import pin
from fair_distill.registry.receipts import Receipt, read_receipts
from fair_distill.registry.regate_record import last_regates, write_regate
from fair_distill.registry.status import dataset_status, list_datasets
from fair_distill.registry.webhook import NotNotified, call_webhook

ONE, TWO = package(1), package(2)
TODAY = date(2026, 3, 20)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FAIR_DISTILL_RECEIPTS", "FAIR_DISTILL_CONSUMER", "FAIR_DISTILL_WEBHOOK", "FAIR_DISTILL_TRUST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FAIR_DISTILL_CACHE", "")
    monkeypatch.chdir(tmp_path)


def command(root: Path, *argv: str) -> Ended:
    return run(root.parent, "registry", *argv, "--registry", str(root))


def test_list_has_the_live_version_of_each_channel(root: Path):
    store = local_registry(root)
    ship(store, ONE)
    ship(store, TWO)
    publish(store, ONE, name="vision/faces")
    retraction.demote(store, NAME, TWO.version, "staging", reason="drift", actor=Actor("ada", NOW, "off"))
    retraction.revoke(store, NAME, ONE.version, reason="labels", actor=Actor("ada", NOW, "gone"))

    digits, faces = list_datasets(str(root))

    assert (digits.name, digits.versions, digits.revoked) == (NAME, 2, 1)
    assert digits.live == {"candidate": 2, "staging": None, "production": 2}
    assert (faces.name, faces.versions, faces.live) == ("vision/faces", 1, {})
    assert [dataset.name for dataset in list_datasets(str(root), team="vision")] == ["vision/faces"]
    assert list_datasets(str(root), team="vis") == ()


def test_a_damaged_ledger_does_not_hide_other_datasets(root: Path):
    store = local_registry(root)
    ship(store, ONE)
    publish(store, ONE, name="vision/faces")
    put_in_place(root / entry_key(NAME, 2), b"{}")

    ended = command(root, "list", "--json")

    assert ended.code == IntegrityError.exit_code
    digits, faces = json.loads(ended.out)
    assert "entry 2 of digits's ledger" in digits["fault"]
    assert (faces["name"], faces["fault"]) == ("vision/faces", "")
    assert ended.err.startswith("fair-distill: digits: entry 2")


def test_status_says_since_when_under_which_policy_and_when_it_was_judged_again(root: Path):
    store = local_registry(root)
    ship(store, ONE)
    regate = {"verdict": sha256(b"verdict"), "split": sha256(b"split"), "who": "nightly", "version": ONE.version}
    for days, outcome in ((5, "pass"), (12, "waived"), (9, "pass")):
        write_regate(store, NAME, **regate, outcome=outcome, now=NOW + timedelta(days=days))

    status = dataset_status(NAME, str(root), today=TODAY)

    production = status.channels[-1]
    assert (production.channel, production.number, production.version) == ("production", 1, ONE.version)
    assert (production.since, production.who, production.event) == ("2026-03-03T12:00:00Z", "ada", "promote")
    assert (production.policy, production.outcome) == (ONE.verdict.policy, "pass")
    assert production.fault == ""
    assert production.regate is not None
    assert (production.regate.time, production.regate.outcome) == ("2026-03-15T12:00:00Z", "waived")
    assert status.attempts is None
    text = command(root, "status", NAME).out
    assert "waived, " in text
    assert ONE.verdict.policy[:12] in text


def test_status_says_what_load_refuses_and_why_a_channel_is_empty(root: Path):
    store = local_registry(root)
    ship(store, ONE)
    retraction.demote(store, NAME, ONE.version, "staging", reason="drift", actor=Actor("ada", NOW, "off"))
    retraction.revoke(store, NAME, ONE.version, reason="labels", actor=Actor("ada", NOW, "gone"))

    status = dataset_status(NAME, str(root), today=TODAY)

    by_channel = {channel.channel: channel for channel in status.channels}
    assert by_channel["production"].fault == "revoked: labels"
    assert (by_channel["staging"].number, by_channel["staging"].fault) == (None, "drift")
    assert status.revoked == (1,)
    assert "`load` refuses v1: revoked: labels" in command(root, "status", NAME).out


def test_status_has_the_attempts_at_the_newest_split_also_of_other_datasets(root: Path):
    store = local_registry(root)
    ship(store, ONE)
    split = numbered(range(100))
    first = take(store, split, planned=3)
    second = take(store, split, version=2, planned=3, dataset="other")

    attempts = dataset_status(NAME, str(root), today=TODAY).attempts

    assert first.entry.fraction == pytest.approx(0.3)
    assert attempts is not None
    assert (attempts.split, attempts.attempt, attempts.planned) == (split.split, 2, 3)
    assert attempts.left == second.entry.left == pytest.approx(0.4)  # 1 - 2 · 0.9 / 3
    assert attempts.next == pytest.approx(0.3)


def test_a_record_of_regate_is_written_once_and_belongs_to_its_dataset(root: Path):
    store = local_registry(root)
    regate = {"version": ONE.version, "verdict": sha256(b"v"), "split": sha256(b"s"), "who": "ada"}
    for name in ("vision", "vision/faces", "vision"):
        write_regate(store, name, **regate, outcome="pass", now=NOW)

    assert len(store.list("regates/")) == 2
    assert list(last_regates(store, "vision")) == [ONE.version]
    key = store.list("regates/vision/")[0]
    put_in_place(root / key, (root / key).read_bytes().replace(b'"pass"', b"1"))
    with pytest.raises(IntegrityError, match="remove it by hand"):
        last_regates(store, "vision")


def test_a_receipt_is_written_only_if_the_consumer_asks_for_it(root: Path, tmp_path: Path):
    ship(local_registry(root), ONE)
    before = tree(tmp_path)

    load(f"{NAME}@production", registry=root)

    assert tree(tmp_path) == before
    for _ in range(2):  # the second one of a day has the same bytes
        load(f"{NAME}@production", registry=root, receipts=tmp_path / "receipts", consumer="fraud-model/nightly")
    receipts = tree(tmp_path / "receipts")
    (path, content), *others = receipts.items()
    assert not others
    assert path.startswith(f"{NAME}/{ONE.version}/")
    assert json.loads(content) == {
        "format": 1,
        "consumer": "fraud-model/nightly",
        "dataset": NAME,
        "version": ONE.version,
        "reference": f"{NAME}@production",
        "day": str(datetime.now(UTC).date()),
    }


@pytest.mark.parametrize("name", ["", "ada lovelace", "../ada", "a" * 201, "ada@example.org"])
def test_a_receipt_needs_a_name_before_anything_is_read(root: Path, tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match="FAIR_DISTILL_CONSUMER or consumer= to a name without personal data"):
        load(f"{NAME}@production", registry=root, receipts=tmp_path / "receipts", consumer=name)


def test_a_receipt_that_cannot_be_written_is_a_warning_and_the_set_is_returned(root: Path, tmp_path: Path):
    ship(local_registry(root), ONE)
    (tmp_path / "file").write_text("")

    with pytest.warns(FairDistillWarning, match="no receipt was written for digits@production"):
        loaded = load(f"{NAME}@production", registry=root, receipts=tmp_path / "file", consumer="job")

    assert loaded.images.tobytes() == ONE.set.images.tobytes()


def test_receipts_are_written_to_a_bucket(server: Bucket):
    ship(server.store(), ONE)
    location = f"s3://{server.bucket}/receipts-{server.prefix.rpartition('/')[2]}"
    load(f"{NAME}@v1", registry=server.url, receipts=location, consumer="job")

    (receipt,) = read_receipts(location, NAME, ONE.version)

    assert (receipt.consumer, receipt.reference) == ("job", f"{NAME}@v1")


def with_consumers(root: Path, tmp_path: Path) -> None:
    """Create a registry with two versions, two lock files and receipts of two consumers."""
    store = local_registry(root)
    ship(store, ONE)
    ship(store, TWO)
    pin(tmp_path / "a" / "fair-distill.lock", f"{NAME}@v1", ONE.version, registry=str(root))
    pin(tmp_path / "b" / "fair-distill.lock", f"{NAME}@production", TWO.version, registry=str(root))
    for consumer, version, day in [("job", ONE, "03"), ("job", ONE, "09"), ("job", ONE, "05"), ("ui", TWO, "05")]:
        receipt = Receipt(consumer, NAME, version.version, f"{NAME}@production", f"2026-03-{day}")
        content = receipt.to_json()
        put_in_place(tmp_path / "receipts" / NAME / version.version / f"{sha256(content)}.json", content)


def test_consumers_of_a_version_are_its_pins_and_receipts_and_no_others(root: Path, tmp_path: Path):
    with_consumers(root, tmp_path)
    sources = ["--lock", str(tmp_path), "--receipts", str(tmp_path / "receipts")]

    rows = json.loads(command(root, "consumers", f"{NAME}@v1", *sources, "--json").out)

    lock = str(tmp_path / "a" / "fair-distill.lock")
    assert rows == [
        {"kind": "pin", "name": lock, "reference": f"{NAME}@v1", "last_day": None},
        {"kind": "receipt", "name": "job", "reference": f"{NAME}@production", "last_day": "2026-03-09"},
    ]
    assert "no consumer of v1 is known" in command(root, "consumers", f"{NAME}@v1").out
    missing = command(root, "consumers", f"{NAME}@v1", "--lock", "nowhere")
    assert (missing.code, missing.err.count("\n")) == (2, 1)


def test_damaged_receipts_and_lock_files_are_named_and_hide_no_other(root: Path, tmp_path: Path):
    with_consumers(root, tmp_path)
    receipts = tmp_path / "receipts" / NAME / ONE.version
    for number, content in enumerate([b'{"format": 1}', b"\xff", b"x" * 5000]):
        put_in_place(receipts / f"{number}.json", content)
    other = next((tmp_path / "receipts" / NAME / TWO.version).iterdir())
    put_in_place(receipts / "other.json", other.read_bytes())
    put_in_place(tmp_path / "0" / "fair-distill.lock", b"[]")
    sources = ["--lock", str(tmp_path), "--receipts", str(tmp_path / "receipts")]

    ended = command(root, "consumers", f"{NAME}@v1", *sources)

    assert ended.code == IntegrityError.exit_code
    assert "job: " in ended.out
    assert "a/fair-distill.lock" in ended.out
    faults = ended.err.splitlines()
    assert len(faults) == 5
    for name in ("0/fair-distill.lock", "0.json", "1.json", "2.json", "other.json"):
        assert any(name in fault for fault in faults), name
    listed = command(root, "consumers", f"{NAME}@v1", *sources, "--json")
    assert (listed.code, len(json.loads(listed.out))) == (IntegrityError.exit_code, 2)


@pytest.mark.parametrize("key", ["reference", "registry"])
def test_a_pin_whose_field_is_no_text_is_named_and_hides_no_other(root: Path, tmp_path: Path, key: str):
    with_consumers(root, tmp_path)
    row = {"reference": f"{NAME}@v1", "registry": str(root), "version": ONE.version, key: 5}
    put_in_place(tmp_path / "0" / "fair-distill.lock", to_json({"format": 1, "pins": [row]}))

    ended = command(root, "consumers", f"{NAME}@v1", "--lock", str(tmp_path))

    assert ended.code == ConfigError.exit_code
    assert "a/fair-distill.lock" in ended.out
    assert ended.err.count("\n") == 1
    assert "0/fair-distill.lock is not a lock file of format 1" in ended.err


def test_a_folder_with_the_name_of_a_lock_file_is_named_and_hides_no_other(root: Path, tmp_path: Path):
    with_consumers(root, tmp_path)
    (tmp_path / "0" / "fair-distill.lock").mkdir(parents=True)

    ended = command(root, "consumers", f"{NAME}@v1", "--lock", str(tmp_path))

    assert ended.code == ConfigError.exit_code
    assert "a/fair-distill.lock" in ended.out
    assert ended.err.count("\n") == 1
    assert "0/fair-distill.lock: Is a directory" in ended.err


@dataclass
class Endpoint:
    """An HTTPS server on this machine that stores the bodies of requests and answers with a status."""

    url: str
    bodies: list[bytes] = field(default_factory=list)
    status: int = 204


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    certificate = _certificate(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            endpoint.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(endpoint.status)
            self.send_header("Location", "https://elsewhere.invalid/")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    endpoint = Endpoint(f"https://localhost:{server.server_port}/hooks/secret-token")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "localhost")
    yield endpoint
    server.shutdown()
    thread.join()
    server.server_close()


def _certificate(folder: Path) -> Path:
    """Write a certificate for localhost that signs itself, with its key, and return the path."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "certificate.pem"
    path.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()) + signed)
    return path


def test_revoke_prints_whom_it_affects_and_calls_the_webhook(
    root: Path, tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
):
    with_consumers(root, tmp_path)
    monkeypatch.setenv("FAIR_DISTILL_WEBHOOK", endpoint.url)
    sources = ["--lock", str(tmp_path), "--receipts", str(tmp_path / "receipts"), "--who", "ada"]

    ended = command(root, "revoke", f"{NAME}@v2", "--reason", "labels", *sources)

    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "digits@v2 is revoked: labels"
    assert "affected: digits@production still names v2; promote another version or roll it back" in lines
    assert "v2 is used by ui: digits@production, last loaded on 2026-03-05" in lines
    (body,) = map(json.loads, endpoint.bodies)
    assert (body["event"], body["dataset"], body["version"], body["number"]) == ("revoke", NAME, TWO.version, 2)
    assert (body["reason"], body["channels"]) == ("labels", ["candidate", "staging", "production"])
    assert [consumer["name"] for consumer in body["consumers"]] == [str(tmp_path / "b" / "fair-distill.lock"), "ui"]
    assert "ada" not in body.values()


@pytest.mark.parametrize("fault", ["status", "redirect", "http", "refused", "malformed", "user"])
def test_a_webhook_that_fails_is_reported_without_its_secret_and_undoes_nothing(
    root: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, fault: str
):
    ship(local_registry(root), ONE)
    endpoint.status = {"status": 500, "redirect": 302}.get(fault, 204)
    url = {
        "http": "http://localhost/secret-token",
        "refused": "https://localhost:1/secret-token",
        "malformed": "https://[secret-token",
        "user": "https://ada:secret-token@localhost/",
    }.get(fault, endpoint.url)
    monkeypatch.setenv("FAIR_DISTILL_WEBHOOK", url)

    ended = command(root, "revoke", f"{NAME}@v1", "--reason", "labels", "--json")

    assert ended.code == 0
    assert ended.err.startswith("fair-distill: v1 is revoked; the webhook was not called: ")
    assert ended.err.count("\n") == 1
    assert "secret" not in ended.err
    assert json.loads(ended.out)["event"] == "revoke"
    with pytest.raises(IntegrityError, match="revoked"):
        load(f"{NAME}@v1", registry=root)


def test_a_certificate_that_is_not_trusted_is_refused(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("FAIR_DISTILL_WEBHOOK", endpoint.url)

    with pytest.raises(NotNotified, match="localhost could not be called"):
        call_webhook(b"{}")
    assert endpoint.bodies == []


def test_list_and_status_read_a_registry_in_a_bucket(server: Bucket):
    ship(server.store(), ONE)
    write_regate(
        server.store(),
        NAME,
        version=ONE.version,
        verdict=sha256(b""),
        split=sha256(b""),
        outcome="pass",
        who="a",
        now=NOW,
    )

    (summary,) = list_datasets(server.url)
    status = dataset_status(NAME, server.url, today=TODAY)

    assert summary.live["production"] == status.channels[-1].number == 1
    assert status.channels[-1].regate is not None

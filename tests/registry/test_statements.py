"""Signatures: who may say that a version passed, to a promotion and to a consumer that declares keys."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from places import Place
from small_registry import NAME, NOW, ORDER, enter, has_remark, package, promote, publish, ship

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256, to_json
from fair_distill.registry import release, retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.approvals import approved_by
from fair_distill.registry.channels import current
from fair_distill.registry.client import load, look_up
from fair_distill.registry.entry import entry_key
from fair_distill.registry.export.evidence_bundle import evidence
from fair_distill.registry.layout import evidence_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.verify import head, verify
from fair_distill.statements import (
    PAYLOAD_TYPE,
    TYPE,
    Signer,
    Statement,
    new_key,
    read_envelope,
    signed_by,
    signer,
)

ONE, TWO = package(1), package(2)
PRODUCTION = f"{NAME}@production"


@pytest.fixture
def key(tmp_path: Path) -> tuple[Signer, str]:
    return made_key(tmp_path / "key.pem")


@pytest.fixture
def other(tmp_path: Path) -> tuple[Signer, str]:
    return made_key(tmp_path / "other.pem")


def made_key(path: Path) -> tuple[Signer, str]:
    private, public = new_key()
    path.write_bytes(private)
    return signer(path), public


def ship_signed(place: Place, sign: Signer | None, *, signed_by: tuple[str, ...] = (), promotes: bool = True) -> None:
    store = place.store()
    release.publish(
        store,
        NAME,
        ONE.manifest,
        ONE.files,
        predictions=ONE.predictions,
        provenance=ONE.provenance,
        actor=Actor("ada", NOW, "p", sign),
    )
    if promotes:
        release.promote(
            store,
            NAME,
            ONE.version,
            "production",
            order=ORDER,
            verdict=ONE.verdict,
            verdict_bytes=ONE.verdict_bytes,
            signed_by=signed_by,
            actor=Actor("ada", NOW, "q", sign),
        )


def test_what_is_signed_by_a_declared_key_is_promoted_and_loads(place: Place, key: tuple[Signer, str]):
    sign, public = key

    ship_signed(place, sign, signed_by=(public,))

    assert load(PRODUCTION, registry=place.url, trust=[public]).images.tobytes() == ONE.set.images.tobytes()
    assert verify(NAME, registry=place.url, trust=[public])
    assert load(PRODUCTION, registry=place.url).images.tobytes() == ONE.set.images.tobytes()


def test_keys_may_stand_in_the_environment(
    place: Place, key: tuple[Signer, str], other: tuple[Signer, str], monkeypatch: pytest.MonkeyPatch
):
    ship_signed(place, key[0])

    monkeypatch.setenv("FAIR_DISTILL_TRUST", f"{other[1]},{key[1]}")
    assert load(PRODUCTION, registry=place.url)
    monkeypatch.setenv("FAIR_DISTILL_TRUST", other[1])
    with pytest.raises(IntegrityError, match="signed by none of the 1 declared keys"):
        load(PRODUCTION, registry=place.url)
    monkeypatch.setenv("FAIR_DISTILL_TRUST", "ed25519:abc")
    with pytest.raises(ConfigError, match="FAIR_DISTILL_TRUST: 'ed25519:abc' is not a public key"):
        load(PRODUCTION, registry=place.url)


@pytest.mark.parametrize("who", ["nobody", "another"])
def test_a_policy_with_keys_promotes_nothing_that_they_did_not_sign(
    place: Place, key: tuple[Signer, str], other: tuple[Signer, str], who: str
):
    sign = None if who == "nobody" else other[0]

    with pytest.raises(IntegrityError, match="not signed" if who == "nobody" else "signed by none") as refusal:
        ship_signed(place, sign, signed_by=(key[1],))

    assert refusal.value.exit_code == 5
    assert f"v1 of {NAME} is not promoted to production" in str(refusal.value)
    assert current(read_ledger(place.store(), NAME), "production") is None


def test_a_consumer_with_keys_takes_nothing_unsigned(place: Place, key: tuple[Signer, str]):
    ship(place.store(), ONE)

    for call in (load, verify):
        with pytest.raises(IntegrityError, match="is not signed, and a signature is required"):
            call(PRODUCTION, registry=place.url, trust=[key[1]])


def test_a_registry_that_was_written_anew_by_somebody_without_the_key_is_refused(place: Place, key: tuple[Signer, str]):
    ship_signed(place, key[0])
    genuine = place.files()
    for one in genuine:
        place.remove(one)
    store = place.store()
    publish(store, TWO)
    promote(store, TWO)
    for one, content in genuine.items():  # the old statements beside the new version
        if "/statements/" in one:
            place.put(f"versions/{TWO.version}/statements/{one.rpartition('/')[2]}", content)

    with pytest.raises(IntegrityError, match="is not signed"):
        load(PRODUCTION, registry=place.url, trust=[key[1]])
    remarks = {one.key: one.remark for one in verify(NAME, registry=place.url) if has_remark(one)}
    assert len(remarks) == len([one for one in genuine if "/statements/" in one])
    assert all("/statements/" in key for key in remarks)
    assert set(remarks.values()) == {f"ignored: it is about {ONE.version[:12]}…, another version"}


def edited(content: bytes, change: Callable[[dict], None]) -> bytes:
    value = json.loads(content)
    change(value)
    return to_json(value)


def flip(value: dict) -> None:
    text = value["signatures"][0]["sig"]
    value["signatures"][0]["sig"] = ("B" if text[0] == "A" else "A") + text[1:]


SPOILT = {
    "no signature": (lambda value: value.update(signatures=[]), "not a signed DSSE"),
    "another type": (lambda value: value.update(payloadType="text/plain"), "not a signed DSSE"),
    "no payload": (lambda value: value.pop("payload"), "not a DSSE envelope"),
    "another payload": (lambda value: value.update(payload="e30="), "not a statement"),
    "signature flipped": (flip, None),
    "signature cut": (lambda value: value["signatures"][0].update(sig="AAAA"), None),
    "key id of another": (lambda value: value["signatures"][0].update(keyid="0" * 64), None),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_an_envelope_that_was_edited_is_no_signature(key: tuple[Signer, str], spoilt: str):
    sign, public = key
    change, said = SPOILT[spoilt]
    envelope = sign(Statement("verdicts", NAME, ONE.version, sha256(ONE.verdict_bytes)))
    assert signed_by(envelope, [public], name="it")

    if said:
        with pytest.raises(IntegrityError, match=said):
            signed_by(edited(envelope, change), [public], name="it")
    else:
        assert not signed_by(edited(envelope, change), [public], name="it")


def test_a_statement_is_in_toto_s_and_reads_back(key: tuple[Signer, str]):
    statement = Statement("verdicts", "team/digits", ONE.version, sha256(ONE.verdict_bytes))

    value = json.loads(statement.to_json())

    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["subject"] == [{"name": "team/digits", "digest": {"sha256": ONE.version}}]
    assert read_envelope(key[0](statement), name="it") == statement
    assert key[0](statement) == key[0](statement)


def test_a_statement_of_one_dataset_says_nothing_of_another(place: Place, key: tuple[Signer, str]):
    ship_signed(place, key[0])
    publish(place.store(), ONE, name="faces")
    promote(place.store(), ONE, name="faces")

    with pytest.raises(IntegrityError, match="is not signed"):
        load("faces@production", registry=place.url, trust=[key[1]])


@pytest.mark.parametrize("content", [b"", b"text", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "key").write_bytes(content)

    with pytest.raises(ConfigError, match="is not a private key in PEM") as refusal:
        signer(tmp_path / "key")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_an_anchor_finds_a_ledger_that_goes_back_or_another_way(
    place: Place, key: tuple[Signer, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signed: bool
):
    monkeypatch.setenv("FAIR_DISTILL_CACHE", "")  # nothing is remembered here
    trust = [key[1]] if signed else []
    ship_signed(place, key[0])
    anchor = tmp_path / "anchor.json"
    statement = head(NAME, registry=place.url)
    anchor.write_bytes(key[0](statement) if signed else statement.to_json())
    assert statement.about == "4"
    assert verify(NAME, registry=place.url, anchor=anchor, trust=trust)

    last = entry_key(NAME, 4)
    content = place.files()[last]
    place.remove(last)
    assert load(f"{NAME}@staging", registry=place.url)  # nothing but the anchor tells
    with pytest.raises(IntegrityError, match="has 3 entries, and had 4 when"):
        verify(NAME, registry=place.url, anchor=anchor, trust=trust)

    retraction.demote(
        place.store(), NAME, ONE.version, "staging", reason="another way", actor=Actor("eve", NOW, "forged")
    )
    with pytest.raises(IntegrityError, match=r"is not the one in .*: the ledger was rewritten"):
        verify(NAME, registry=place.url, anchor=anchor, trust=trust)
    place.put(last, content)
    assert verify(NAME, registry=place.url, anchor=anchor, trust=trust)


def test_an_anchor_of_another_key_or_dataset_is_refused(
    place: Place, key: tuple[Signer, str], other: tuple[Signer, str], tmp_path: Path
):
    ship_signed(place, key[0])
    anchor = tmp_path / "anchor.json"
    statement = head(NAME, registry=place.url)

    anchor.write_bytes(other[0](statement))
    with pytest.raises(IntegrityError, match="none of the declared keys has signed the anchor"):
        verify(NAME, registry=place.url, anchor=anchor, trust=[key[1]])
    anchor.write_bytes(key[0](replace(statement, name="faces")))
    with pytest.raises(IntegrityError, match="has a head of the ledger of faces, not of digits"):
        verify(NAME, registry=place.url, anchor=anchor)
    with pytest.raises(ConfigError, match="cannot be read"):
        verify(NAME, registry=place.url, anchor=tmp_path / "nowhere")


def envelope(*signatures: object, payload: str = "e30=") -> bytes:
    return to_json({"payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": list(signatures)})


def payload_of(kind: str = "verdicts") -> str:
    statement = Statement(kind, NAME, ONE.version, sha256(ONE.verdict_bytes))
    return base64.b64encode(statement.to_json()).decode()


# What anybody who may write to the store can put beside a version, and what `verify` says of it.
STRAY = {
    "no JSON": (b"text", "not readable JSON"),
    "empty": (b"", "not readable JSON"),
    "a list": (b"[]", "JSON object"),
    "no envelope": (to_json({"payload": "e30="}), "not a DSSE envelope"),
    "unsigned": (envelope(payload=payload_of()), "not a signed DSSE envelope"),
    "a signature that is a number": (
        envelope({"keyid": "0", "sig": 5}, payload=payload_of()),
        "sig is 5; expected a text",
    ),
    "a signature that is a text": (envelope("AAAA", payload=payload_of()), "is 'AAAA'; expected an object"),
    "a key id that is a list": (
        envelope({"keyid": [], "sig": ""}, payload=payload_of()),
        "keyid is []; expected a text",
    ),
    "a statement of a kind of the future": (
        envelope({"keyid": "0", "sig": "AAAA"}, payload=base64.b64encode(to_json({"_type": TYPE})).decode()),
        "not a statement about a version",
    ),
    "signed by nobody": (
        envelope({"keyid": "0", "sig": "AAAA"}, payload=payload_of()),
        "none of the 1 declared keys",
    ),
    "signed in no alphabet": (
        envelope({"keyid": "0", "sig": "ä"}, payload=payload_of()),
        "none of the 1 declared keys",
    ),
}


@pytest.mark.parametrize("stray", STRAY)
def test_an_extra_statement_is_ignored_by_consumers_and_listed_by_verify(
    place: Place, key: tuple[Signer, str], stray: str
):
    sign, public = key
    ship_signed(place, sign, signed_by=(public,))
    content, reason = STRAY[stray]
    added = evidence_key(ONE.version, "statements", sha256(content))
    place.put(added, content)

    assert load(PRODUCTION, registry=place.url, trust=[public])
    assert approved_by(place.store(), NAME, ONE.version, policy=ONE.verdict.policy, keys=[public]) == ()
    (ignored,) = [one for one in verify(NAME, registry=place.url, trust=[public]) if has_remark(one)]
    assert (ignored.key, ignored.sha256) == (added, sha256(content))
    assert ignored.remark.startswith("ignored: ")
    assert reason in ignored.remark
    assert evidence(f"{NAME}@v1", registry=place.url, trust=[public])


@pytest.mark.parametrize("name", ["latest.json", "0" * 64 + ".json", "a/b.json"])
def test_a_file_under_another_name_among_the_statements_is_ignored(place: Place, key: tuple[Signer, str], name: str):
    sign, public = key
    ship_signed(place, sign, signed_by=(public,))
    place.put(f"versions/{ONE.version}/statements/{name}", envelope())

    assert load(PRODUCTION, registry=place.url, trust=[public])
    (ignored,) = [one for one in verify(NAME, registry=place.url, trust=[public]) if has_remark(one)]
    assert ignored.remark == "ignored: its name is not its SHA-256"


def test_a_statement_that_is_needed_is_not_replaced_by_an_extra_one(place: Place, key: tuple[Signer, str]):
    ship(place.store(), ONE)
    for content, _ in STRAY.values():
        place.put(evidence_key(ONE.version, "statements", sha256(content)), content)

    with pytest.raises(IntegrityError, match="is not signed, and a signature is required"):
        load(PRODUCTION, registry=place.url, trust=[key[1]])


def test_an_extra_provenance_that_nobody_signed_stops_no_consumer(place: Place, key: tuple[Signer, str]):
    sign, public = key
    ship_signed(place, sign)
    place.put(evidence_key(ONE.version, "provenance", sha256(b"{}")), b"{}")

    assert load(PRODUCTION, registry=place.url, trust=[public])


def test_an_unsigned_promotion_to_another_channel_stops_no_consumer(place: Place, key: tuple[Signer, str]):
    sign, public = key
    ship_signed(place, sign)
    unsigned = package(1, mistakes=1)
    publish(place.store(), unsigned)
    digest = sha256(unsigned.verdict_bytes)
    place.put(evidence_key(ONE.version, "verdicts", digest), unsigned.verdict_bytes)
    entry = enter(place.store(), event="promote", version=ONE.version, channel="rogue", verdict=digest)

    found = look_up(PRODUCTION, registry=place.url, trust=[public])
    assert found.verdicts == (ONE.verdict,) * 3
    with pytest.raises(
        IntegrityError,
        match=f"entry {entry.number} is based on the verdict .*, which none",
    ):
        load(f"{NAME}@rogue", registry=place.url, trust=[public])
    (remark,) = [one.remark for one in verify(NAME, registry=place.url, trust=[public]) if has_remark(one)]
    assert remark == "ignored: not signed"


def test_signatures_are_loaded_where_a_key_is_used_and_nowhere_else():
    code = "import sys; from fair_distill.registry import client, release; print('securesystemslib' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"

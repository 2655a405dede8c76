"""Signed statements: in-toto statements about a version, in DSSE envelopes that are signed with ed25519.

A statement binds a version to one piece of its evidence, such as a verdict or a provenance, by SHA-256 [1]_. An
envelope binds the statement to a key [2]_. Someone who can write to the store can rewrite a whole registry. Without the
key they cannot sign it, so a consumer who declares the key refuses it.

A public key is written as `ed25519:` and 64 hex digits. This is the only module that signs. It imports securesystemslib
(the extra `sign`) only when a key is used.

References
----------
.. [1] in-toto Attestation Framework, Statement v1.
.. [2] secure-systems-lab/dsse, protocol v1.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import is_sha256, parse_json, to_json
from fair_distill.formats.strict_json import check_fields

# The environment variable that names the file of the private signing key.
SIGNING_KEY = "FAIR_DISTILL_SIGNING_KEY"
TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
# The kinds of statements and their predicate types. The subject of `head` is a ledger entry, not a version, and
# so is that of `erasures`: an entry of the record of erasures, or the report if the registry had nothing.
PREDICATES = {
    "predictions": "urn:fair-distill:predictions:v1",
    "verdicts": "urn:fair-distill:verdict:v1",
    "waivers": "urn:fair-distill:waiver:v1",
    "provenance": "urn:fair-distill:provenance:v1",
    "approvals": "urn:fair-distill:approval:v1",
    "head": "urn:fair-distill:ledger-head:v1",
    "erasures": "urn:fair-distill:erasure:v1",
}
_KEY = re.compile(r"ed25519:[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class Statement:
    """A claim about a subject that has a SHA-256.

    Attributes
    ----------
    kind : a key of PREDICATES
    name : the dataset of the subject
    subject : the SHA-256 of the subject: a version; for a head and an erasure, the digest of an entry
    about : the SHA-256 of the evidence; for an approval, that of the policy; for a head, the number of the entry; for
        an erasure, that of the report
    """

    kind: str
    name: str
    subject: str
    about: str

    def to_json(self) -> bytes:
        """Return the bytes of the in-toto statement."""
        return to_json(
            {
                "_type": TYPE,
                "subject": [{"name": self.name, "digest": {"sha256": self.subject}}],
                "predicateType": PREDICATES[self.kind],
                "predicate": {"about": self.about},
            }
        )

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "Statement":
        """Read a statement. Raises IntegrityError unless writing it again gives the same bytes."""
        value = parse_json(content, name=name, error=IntegrityError)
        try:
            kind_of_predicate = {predicate: kind for kind, predicate in PREDICATES.items()}
            (subject,) = value["subject"]
            kind, about = kind_of_predicate[value["predicateType"]], value["predicate"]["about"]
            statement = cls(kind, subject["name"], subject["digest"]["sha256"], about)
            valid = is_sha256(statement.subject) and isinstance(statement.name, str) and isinstance(about, str)
            valid = valid and (_NUMBER.fullmatch(about) is not None if kind == "head" else is_sha256(about))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{name} is not a statement about a version: {error!r}") from None
        if not valid or statement.to_json() != content:
            raise IntegrityError(f"{name} is not in the form in which statements are written; it was edited")
        return statement


Signer = Callable[[Statement], bytes]


def check_keys(keys: Sequence[str], *, source: str) -> tuple[str, ...]:
    """Return public keys. Raises ConfigError if one is not valid; `source` is where they come from, for messages."""
    for key in keys:
        if not _KEY.fullmatch(key):
            raise ConfigError(f"{source}: {key!r} is not a public key; write `ed25519:` and 64 hex digits")
    return tuple(keys)


def new_key() -> tuple[bytes, str]:
    """Return a new private key, in PEM without a password, and its public key."""
    _library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), _format(private.public_key())


def signer(path: Path) -> Signer:
    """Return a function that signs statements with the private key in a PEM file.

    It returns the bytes of the envelope, which are the same for the same statement.
    """
    library = _library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"the signing key {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the signing key {path} is not a private key in PEM without a password: {error}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"the signing key {path} is not an ed25519 key; run `fair-distill registry keygen FILE`")
    key = library.CryptoSigner(private)

    def sign(statement: Statement) -> bytes:
        envelope = library.Envelope(statement.to_json(), PAYLOAD_TYPE, {})
        envelope.sign(key)
        return to_json(envelope.to_dict())

    return sign


@dataclass(frozen=True)
class _Signature:
    keyid: str
    sig: str


@dataclass(frozen=True)
class _Envelope:
    """The fields of an envelope in JSON, for `check_fields`."""

    payload: str
    payloadType: str
    signatures: tuple[_Signature, ...]


def read_envelope(content: bytes, *, name: str) -> Statement:
    """Return the statement in an envelope without checking its signatures. Raises IntegrityError if it has none."""
    import base64

    value = parse_json(content, name=name, error=IntegrityError)
    check_fields(value, _Envelope, name=f"{name} is not a DSSE envelope", error=IntegrityError)
    try:
        payload = base64.b64decode(value["payload"], validate=True)
        signatures = value["signatures"]
        valid = value["payloadType"] == PAYLOAD_TYPE and isinstance(signatures, list) and signatures
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{name} is not a DSSE envelope: {error!r}") from None
    if not valid:
        raise IntegrityError(f"{name} is not a signed DSSE envelope of an in-toto statement")
    for signature in signatures:
        if not isinstance(signature, dict) or not all(isinstance(signature.get(key), str) for key in ("keyid", "sig")):
            raise IntegrityError(f"{name} is not a DSSE envelope: a signature has a text `keyid` and a text `sig`")
    return Statement.from_json(payload, name=name)


def readable(envelopes: Sequence[tuple[str, bytes]]) -> list[tuple[Statement, str, bytes]]:
    """Return the statements of the valid envelopes, each with its name and bytes. Other files are ignored."""
    statements = []
    for name, content in envelopes:
        with suppress(IntegrityError):
            statements.append((read_envelope(content, name=name), name, content))
    return statements


def signed_by(content: bytes, keys: Sequence[str], *, name: str) -> bool:
    """Return whether one of the public keys signed the envelope; `name` is for messages."""
    read_envelope(content, name=name)
    library = _library()
    public_keys = [_public(library, key) for key in keys]
    try:
        return bool(library.Envelope.from_dict(parse_json(content, name=name)).verify(public_keys, 1))
    except library.Errors:
        return False


def require(
    envelopes: Sequence[tuple[str, bytes]], required: Sequence[Statement], keys: Sequence[str], *, subject: str
) -> None:
    """Check that each required statement is in an envelope that one of the keys signed.

    Other envelopes are ignored: anyone who can write to the store can add one, and nobody may remove it with the
    publisher's credentials.

    Parameters
    ----------
    envelopes : the name and the bytes of each envelope
    subject : what the statements are about, for messages

    Raises
    ------
    IntegrityError
        If a statement is in no envelope, or only in envelopes of other keys or with a wrong signature.
    """
    statements = readable(envelopes)
    for statement in required:
        matching = [(name, content) for signed, name, content in statements if signed == statement]
        noun = statement.kind.removesuffix("s")
        if not matching:
            raise IntegrityError(
                f"{subject}: its {noun} {statement.about[:12]}… is not signed, and a signature is required"
            )
        if not any(signed_by(content, keys, name=name) for name, content in matching):
            raise IntegrityError(
                f"{subject}: its {noun} {statement.about[:12]}… is signed by none of the {len(keys)} declared keys "
                f"({', '.join(key[:20] + '…' for key in keys)})"
            )


@dataclass(frozen=True)
class _Library:
    Envelope: Any
    CryptoSigner: Any
    SSlibKey: Any
    Errors: tuple[type[Exception], ...]


def _library() -> _Library:
    try:
        from securesystemslib.dsse import Envelope
        from securesystemslib.exceptions import Error, FormatError
        from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]
    except ImportError:
        raise ConfigError("signatures need securesystemslib; pip install 'fair-distill[sign]'") from None
    return _Library(
        Envelope, CryptoSigner, SSlibKey, (Error, FormatError, AttributeError, KeyError, TypeError, ValueError)
    )


def _public(library: _Library, key: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        return library.SSlibKey.from_crypto(
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.removeprefix("ed25519:")))
        )
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{key!r} is not a public key; write `ed25519:` and 64 hex digits") from None


def _format(public: Any) -> str:
    """Return a public key as `ed25519:` and 64 hex digits."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return f"ed25519:{public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()}"

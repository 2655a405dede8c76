"""How messages name examples: by id, or under `privacy: restricted` by a keyed hash of the id."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fair_distill.errors import ConfigError

ENVIRONMENT = "FAIR_DISTILL_SALT"
MAX_SHOWN = 5
# A salt that can be guessed does not protect an id that can be guessed.
_MIN_SALT_LENGTH = 16
_HASH_DIGITS = 12


@dataclass(frozen=True)
class IdFormatter:
    """Formats ids for messages and for validation.json.

    Attributes
    ----------
    noun : what the ids name, for sentences: `example` or `pair`
    salt : None shows ids as they are. With a salt, an id is shown as the first 12 hexadecimal digits of its HMAC-SHA256
        under the salt, so only a reader who has the salt can look up the example
    """

    noun: str
    salt: bytes | None = None

    @property
    def is_open(self) -> bool:
        return self.salt is None

    def name(self, value: object) -> str:
        """Return one id as it may be shown."""
        return str(value) if self.salt is None else self._hash(value)

    def sample(self, ids: Iterable[object]) -> tuple[int | str, ...]:
        """Return up to five different ids in ascending order."""
        distinct = dict.fromkeys(ids)
        if self.salt is None:
            return tuple(sorted(value if isinstance(value, int) else str(value) for value in distinct))[:MAX_SHOWN]
        return tuple(sorted(self._hash(value) for value in distinct)[:MAX_SHOWN])

    def phrase(self, ids: Iterable[object]) -> str:
        """Return ids for a sentence: `pairs 1001, 1012, 1040, 1041, 1058 and 3 more`."""
        distinct = list(dict.fromkeys(ids))
        sample = ", ".join(map(str, self.sample(distinct)))
        hidden = f" and {len(distinct) - MAX_SHOWN} more" if len(distinct) > MAX_SHOWN else ""
        return f"{self.noun}{'' if len(distinct) == 1 else 's'} {sample}{hidden}"

    def _hash(self, value: object) -> str:
        assert self.salt is not None
        return hmac.new(self.salt, str(value).encode(), hashlib.sha256).hexdigest()[:_HASH_DIGITS]


def read_salt(environment: Mapping[str, str]) -> bytes:
    """Return the salt from the environment. It is never written to a file.

    Raises
    ------
    ConfigError
        If the variable is missing, or too short to be a secret.
    """
    salt = environment.get(ENVIRONMENT, "")
    if len(salt) < _MIN_SALT_LENGTH:
        state = f"has {len(salt)} characters" if salt else "is not set"
        raise ConfigError(
            f"params.yaml: validate.privacy is 'restricted', which needs a secret salt of at least {_MIN_SALT_LENGTH} "
            f"characters in the environment variable {ENVIRONMENT}; it {state}. Create one, for example with "
            "`openssl rand -hex 32`, and do not store it with published files"
        )
    return salt.encode()

"""What an example is called in print: its id, or under `privacy: restricted` a keyed hash of it."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fair_distill.errors import ConfigError

ENVIRONMENT = "FAIR_DISTILL_SALT"
_SHORTEST = 16  # characters; a salt that can be guessed protects nobody whose id can be
_HEX = 12
SHOWN = 5


@dataclass(frozen=True)
class Ids:
    """How ids are shown.

    Attributes
    ----------
    word : what they are, for a sentence: `example` or `pair`
    salt : None shows them as they are. With a salt, each is the first 12 hexadecimal digits of the HMAC-SHA256 of its
        text under the salt: whoever has the salt can look up an example, nobody else
    """

    word: str
    salt: bytes | None = None

    @property
    def open(self) -> bool:
        return self.salt is None

    def shown(self, ids: Iterable[object]) -> tuple[int | str, ...]:
        """Return up to five different ids, least first."""
        distinct = dict.fromkeys(ids)
        if self.salt is None:
            return tuple(sorted(value if isinstance(value, int) else str(value) for value in distinct))[:SHOWN]
        return tuple(sorted(self._hashed(value) for value in distinct)[:SHOWN])

    def _hashed(self, value: object) -> str:
        assert self.salt is not None
        return hmac.new(self.salt, str(value).encode(), hashlib.sha256).hexdigest()[:_HEX]

    def named(self, ids: Iterable[object]) -> str:
        """Return them for a sentence: `pairs 1001, 1012 and 3 more`."""
        distinct = list(dict.fromkeys(ids))
        shown = ", ".join(map(str, self.shown(distinct)))
        more = f" and {len(distinct) - SHOWN} more" if len(distinct) > SHOWN else ""
        return f"{self.word}{'' if len(distinct) == 1 else 's'} {shown}{more}"


def salt_of(environment: Mapping[str, str]) -> bytes:
    """Return the salt. It stays in the environment: it is written nowhere, least of all beside what it salts.

    Raises
    ------
    ConfigError
        If there is none, or one that is too short to be a secret.
    """
    salt = environment.get(ENVIRONMENT, "")
    if len(salt) < _SHORTEST:
        came = f"{len(salt)} characters" if salt else "nothing"
        raise ConfigError(
            f"params.yaml: validate.privacy is restricted: ids are salted with a secret of at least {_SHORTEST} "
            f"characters from the environment variable {ENVIRONMENT}, which holds {came}. Make one, for example with "
            "`openssl rand -hex 32`, and keep it apart from what is published"
        )
    return salt.encode()

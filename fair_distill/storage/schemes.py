"""The dispatcher from a URL to its store. Everything that reads or writes through a URL opens its store here."""

from fair_distill.errors import ConfigError
from fair_distill.storage.local import LocalStore
from fair_distill.storage.s3 import S3Store
from fair_distill.storage.store import Options, Store
from fair_distill.storage.urls import StoreUrl, parse_store_url, scheme_of

# To add a backend, write a subclass of Store and add its line here.
SCHEMES: dict[str, type[Store]] = {
    "file": LocalStore,
    "s3": S3Store,
}
_DEFAULT = Options()


def open_store(url: str, *, source: str, options: Options = _DEFAULT) -> Store:
    """Return the store at a path or a URL. Opening neither reads nor writes contents.

    Parameters
    ----------
    source : the option, variable or key that the URL comes from; messages name it

    Raises
    ------
    ConfigError
        If the scheme is not supported, or the URL has credentials or unknown parameters.
    """
    parsed = _parse(url, source, options)
    return SCHEMES[parsed.scheme].open(parsed, options)


def open_object(url: str, *, source: str, options: Options = _DEFAULT) -> tuple[Store, str]:
    """Return the store that contains the object or folder at a path or a URL, and its key there.

    The key is empty if the URL is the root of a store. Raises what `open_store` raises.
    """
    folder, key = _parse(url, source, options).split()
    return SCHEMES[folder.scheme].open(folder, options), key


def is_supported(url: str) -> bool:
    """Return whether there is a store for the scheme of a URL. A path is always supported."""
    return scheme_of(url) in SCHEMES


def parse_url(url: str, *, source: str) -> StoreUrl:
    """Return the parts of a path or a URL. Raises what `open_store` raises."""
    return _parse(url, source, _DEFAULT)


def _parse(url: str, source: str, options: Options) -> StoreUrl:
    backend = SCHEMES.get(scheme_of(url))
    parameters = () if backend is None or options.environment_only else backend.parameters
    parsed = parse_store_url(url, source=source, parameters=parameters)
    if backend is None:
        examples = " or ".join(store.example for store in SCHEMES.values())
        raise ConfigError(
            f"{source} is {parsed.safe_text}; the supported locations are a folder, {examples}. Use one of these"
        )
    return parsed

"""The version of the computation. It increases with every release that produces other bytes from the same params."""

from fair_distill.config.params import Config
from fair_distill.errors import ConfigError

ENGINE = 3


def check_engine(config: Config) -> None:
    """Raise ConfigError unless params.yaml names the engine of this release.

    DVC compares params only. If `engine` kept its value after an upgrade that changes bytes, DVC would mix results of
    two engines.
    """
    if config.engine == ENGINE:
        return
    if config.engine < ENGINE:
        fix = f"set engine: {ENGINE} in params.yaml and run `dvc repro`, which computes every result again"
    else:
        fix = f"install the release of fair-distill that has engine {config.engine}"
    raise ConfigError(
        f"params.yaml: engine is {config.engine}, and the installed fair-distill has engine {ENGINE}; {fix}"
    )

"""Every setting, read once at start. No other module looks at the environment.

Values come from ``default.toml``, then the file given with ``--config``, then ``FAREBOX_…`` variables with
``__`` between levels. An entry point passes each part of the program its own slice; nothing imports a
settings object.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from config.opentelemetry import OpenTelemetry

DEFAULTS = Path(__file__).with_name("default.toml")

Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]

# Chains whose money is worth nothing, by EIP-155 id; any other chain is live unless its setting says
# otherwise.
TEST_CHAINS = frozenset(
    {1337, 31337, 84532, 11155111, 421614, 11155420, 43113, 80002, 97, 10200, 131277322940537}
)


class SettingsError(Exception):
    """What is wrong with the settings, in sentences that name each one."""


class Listen(BaseModel, frozen=True, extra="forbid"):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8402
    workers: Annotated[int, Field(ge=1, le=64)] = 1


class Metrics(BaseModel, frozen=True, extra="forbid"):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9402


class Postgres(BaseModel, frozen=True, extra="forbid"):
    dsn: SecretStr | None = None
    bin_dir: Path | None = None
    pool_size: Annotated[int, Field(ge=2, le=200)] = 10


class Redis(BaseModel, frozen=True, extra="forbid"):
    url: SecretStr | None = None


class Secrets(BaseModel, frozen=True, extra="forbid"):
    keys: tuple[SecretStr, ...] = ()


class Limits(BaseModel, frozen=True, extra="forbid"):
    key_calls_per_second: Annotated[float, Field(gt=0)] = 200
    key_burst: Annotated[int, Field(ge=1)] = 400
    address_calls_per_second: Annotated[float, Field(gt=0)] = 100
    address_burst: Annotated[int, Field(ge=1)] = 200
    body_bytes_max: Annotated[int, Field(ge=1024)] = 104_857_600


class Upstream(BaseModel, frozen=True, extra="forbid"):
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5
    total_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 300
    connections_per_host: Annotated[int, Field(ge=1, le=10_000)] = 512


class Fees(BaseModel, frozen=True, extra="forbid"):
    platform_basis_points: Annotated[int, Field(ge=0, le=10_000)] = 0


class AssetSettings(BaseModel, frozen=True, extra="forbid"):
    """An EIP-3009 token. ``name`` and ``version`` are those of its EIP-712 domain."""

    address: Address
    symbol: Annotated[str, Field(min_length=1, max_length=16)]
    decimals: Annotated[int, Field(ge=0, le=36)]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[str, Field(min_length=1, max_length=16)]


class Network(BaseModel, frozen=True, extra="forbid"):
    """A chain that payments may arrive on, by its CAIP-2 id."""

    id: Annotated[str, Field(pattern=r"^eip155:[1-9][0-9]{0,18}$")]
    rpc_url: str
    facilitator_key: SecretStr
    assets: Annotated[tuple[AssetSettings, ...], Field(min_length=1)]
    pay_to: Address | None = None
    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] | None = None
    mode: Literal["live", "test"] | None = None
    confirmations: Annotated[int, Field(ge=1, le=1000)] = 1
    settle_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30
    gas_limit: Annotated[int, Field(ge=50_000, le=5_000_000)] = 200_000

    @field_validator("facilitator_key")
    @classmethod
    def is_private_key(cls, key: SecretStr) -> SecretStr:
        text = key.get_secret_value().removeprefix("0x")
        try:
            is_key = len(text) == 64 and int(text, 16) > 0
        except ValueError:
            is_key = False
        if not is_key:
            raise ValueError("a private key is 32 bytes in hexadecimal")
        return key

    @property
    def chain_id(self) -> int:
        return int(self.id.partition(":")[2])

    @property
    def is_test(self) -> bool:
        return self.mode == "test" or (self.mode is None and self.chain_id in TEST_CHAINS)


def parse_json(value: object) -> object:
    """Lists arrive from the environment as JSON text."""
    return json.loads(value) if isinstance(value, str) else value


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="FAREBOX_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    data_dir: Path | None = None
    public_url: Annotated[str, Field(pattern=r"^https?://[^/?#\s]+$")] | None = None
    allow_private_upstreams: bool = False
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_calls: bool = True
    listen: Listen = Listen()
    metrics: Metrics = Metrics()
    postgres: Postgres = Postgres()
    redis: Redis = Redis()
    secrets: Secrets = Secrets()
    limits: Limits = Limits()
    upstream: Upstream = Upstream()
    fees: Fees = Fees()
    otel: OpenTelemetry = Field(default_factory=OpenTelemetry)
    networks: Annotated[tuple[Network, ...], BeforeValidator(parse_json)] = ()

    @field_validator("networks")
    @classmethod
    def are_distinct(cls, networks: tuple[Network, ...]) -> tuple[Network, ...]:
        ids = [network.id for network in networks]
        if len(set(ids)) != len(ids):
            raise ValueError("a network is listed twice")
        return networks

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, DEFAULTS)


def load(config_file: Path | None = None) -> Settings:
    """Return the settings of this process.

    ``SettingsError`` names every setting that is missing or wrong, by the variable that sets it, and never
    repeats a value: it may be a secret.
    """
    try:
        return with_file(config_file)() if config_file else Settings()
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise SettingsError("\n".join(f"{variable(one['loc'])}: {one['msg']}" for one in problems)) from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{config_file}: {error}") from None
    except ValueError as error:
        raise SettingsError(str(error)) from None


def with_file(config_file: Path) -> type[Settings]:
    config_file.stat()  # A missing file is an error here; the library would pass over it in silence.

    class SettingsWithFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *args: Any, **kwargs: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            *first, defaults = super().settings_customise_sources(settings_cls, *args, **kwargs)
            return *first, TomlConfigSettingsSource(settings_cls, config_file), defaults

    return SettingsWithFile


def variable(location: tuple[int | str, ...]) -> str:
    """``("postgres", "dsn")`` is set by ``FAREBOX_POSTGRES__DSN``."""
    return "FAREBOX_" + "__".join(str(part).upper() for part in location)


def data_home() -> Path:
    """Where a server keeps its data when no setting says so."""
    if os.getuid() == 0:
        return Path("/var/lib/farebox")
    chosen = Path(os.environ.get("XDG_DATA_HOME", ""))  # noqa: TID251 - this module may
    # The standard wants a relative path passed over.
    return (chosen if chosen.is_absolute() else Path.home() / ".local" / "share") / "farebox"


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with changes, for a child that reads its own settings."""
    return {**os.environ, **changes}  # noqa: TID251 - this module may

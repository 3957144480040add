"""Every setting, read once at start. No other module looks at the environment.

Values come from ``default.toml``, then the file given with ``--config``, then ``FAREBOX_…`` variables with
``__`` between levels. An entry point passes each part of the program its own slice; nothing imports a
settings object.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from config.card_payments import CardPayments, Polar, Stripe
from config.computes import Computes
from config.lists import parse_json
from config.money import Facilitation as Facilitation
from config.money import Fees, Payouts, Reconcile, Wallet
from config.networks import AssetSettings as AssetSettings
from config.networks import Depth as Depth
from config.networks import Network as Network
from config.opentelemetry import OpenTelemetry
from config.pgproxy import PgProxy
from config.plans import FREE, Invoicing, Plans
from config.postgres import Postgres as Postgres
from config.promotions import Promotions
from config.proxies import TrustedProxies

DEFAULTS = Path(__file__).with_name("default.toml")


class SettingsError(Exception):
    """What is wrong with the settings, in sentences that name each one."""


class Listen(BaseModel, frozen=True, extra="forbid"):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8402
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    descriptor: Annotated[int, Field(ge=0)] | None = None
    head_seconds_max: Annotated[float, Field(gt=0, le=600)] = 10
    idle_seconds_max: Annotated[float, Field(gt=0, le=3600)] = 75
    stall_seconds_max: Annotated[float, Field(gt=0, le=3600)] = 60
    body_bytes_per_second_min: Annotated[int, Field(ge=0)] = 256
    connections_max: Annotated[int, Field(ge=1)] = 12288
    connections_per_address_max: Annotated[int, Field(ge=1)] = 1024
    trusted_proxies: TrustedProxies = ()


class Metrics(BaseModel, frozen=True, extra="forbid"):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9402


class Redis(BaseModel, frozen=True, extra="forbid"):
    url: SecretStr | None = None


class Secrets(BaseModel, frozen=True, extra="forbid"):
    keys: Annotated[tuple[SecretStr, ...], BeforeValidator(parse_json)] = ()


class Limits(BaseModel, frozen=True, extra="forbid"):
    key_calls_per_second: Annotated[float, Field(gt=0)] = 200
    key_burst: Annotated[int, Field(ge=1)] = 400
    address_calls_per_second: Annotated[float, Field(gt=0)] = 400
    address_burst: Annotated[int, Field(ge=1)] = 800
    signups_per_minute: Annotated[float, Field(gt=0)] = 20
    signup_burst: Annotated[int, Field(ge=1)] = 50
    body_bytes_max: Annotated[int, Field(ge=1024)] = 104_857_600


class Upstream(BaseModel, frozen=True, extra="forbid"):
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5
    total_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 300
    connections_per_host: Annotated[int, Field(ge=1, le=10_000)] = 512
    calls_per_publisher: Annotated[int, Field(ge=1, le=100_000)] = 512
    breaker_failures: Annotated[int, Field(ge=0)] = 5
    breaker_seconds: Annotated[float, Field(gt=0, le=3600)] = 10


class Queries(BaseModel, frozen=True, extra="forbid"):
    rows_max: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    row_bytes_max: Annotated[int, Field(ge=1024, le=16_777_216)] = 262_144
    answer_bytes_max: Annotated[int, Field(ge=65_536)] = 67_108_864
    seconds_max: Annotated[int, Field(ge=1, le=300)] = 30
    at_once_per_publisher: Annotated[int, Field(ge=1, le=1000)] = 8


class Idempotency(BaseModel, frozen=True, extra="forbid"):
    keep_hours: Annotated[int, Field(ge=24, le=8760)] = 24
    answer_bytes_max: Annotated[int, Field(ge=0, le=67_108_864)] = 1_048_576


class Webhooks(BaseModel, frozen=True, extra="forbid"):
    keep_days: Annotated[int, Field(ge=3, le=3650)] = 30


class OAuth(BaseModel, frozen=True, extra="forbid"):
    redirect_origins: Annotated[tuple[str, ...], BeforeValidator(parse_json)] = ()


class Accounts(BaseModel, frozen=True, extra="forbid"):
    access_token_seconds: Annotated[int, Field(ge=60, le=3600)] = 900
    session_days: Annotated[int, Field(ge=1, le=365)] = 30
    session_days_max: Annotated[int, Field(ge=1, le=3650)] = 90
    logins_per_minute: Annotated[float, Field(gt=0)] = 20
    login_burst: Annotated[int, Field(ge=1)] = 40
    wrong_passwords_per_minute: Annotated[float, Field(gt=0)] = 1
    wrong_password_burst: Annotated[int, Field(ge=1)] = 10
    account_wrong_passwords_per_minute: Annotated[float, Field(gt=0)] = 10
    account_wrong_password_burst: Annotated[int, Field(ge=1)] = 100
    mails_per_hour: Annotated[float, Field(gt=0)] = 6
    mail_burst: Annotated[int, Field(ge=1)] = 5
    teams_per_user_max: Annotated[int, Field(ge=0)] = 50


class Mail(BaseModel, frozen=True, extra="forbid"):
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    encryption: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    sender: Annotated[str, Field(pattern=r"^[^\r\n]+$")] = "Farebox <farebox@localhost>"
    ca_file: FilePath | None = None


class Bootstrap(BaseModel, frozen=True, extra="forbid"):
    admin_email: str | None = None
    admin_password: SecretStr | None = None

    @model_validator(mode="after")
    def is_whole(self) -> "Bootstrap":
        if (self.admin_email is None) != (self.admin_password is None):
            raise ValueError("admin_email and admin_password belong together")
        return self


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="FAREBOX_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    data_dir: Path | None = None
    public_url: Annotated[str, Field(pattern=r"^https?://[^/?#\s]+$")] | None = None
    allow_private_upstreams: bool = False
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_calls: bool = True
    listen: Listen = Listen()
    metrics: Metrics = Metrics()
    postgres: Postgres = Postgres()
    redis: Redis = Redis()
    secrets: Secrets = Secrets()
    limits: Limits = Limits()
    upstream: Upstream = Upstream()
    queries: Queries = Queries()
    fees: Fees = Fees()
    payouts: Payouts = Payouts()
    otel: OpenTelemetry = Field(default_factory=OpenTelemetry)
    idempotency: Idempotency = Idempotency()
    wallet: Wallet = Wallet()
    promotions: Promotions = Promotions()
    facilitator: Facilitation = Facilitation()
    reconcile: Reconcile = Reconcile()
    webhooks: Webhooks = Webhooks()
    stripe: Stripe = Stripe()
    polar: Polar = Polar()
    card_payments: CardPayments = CardPayments()
    computes: Computes = Computes()
    pgproxy: PgProxy = PgProxy()
    oauth: OAuth = OAuth()
    accounts: Accounts = Accounts()
    mail: Mail = Mail()
    bootstrap: Bootstrap = Bootstrap()
    invoicing: Invoicing = Invoicing()
    plans: Annotated[Plans, NoDecode, BeforeValidator(parse_json)] = (FREE,)
    networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(parse_json)] = ()

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


# What commands and tests read for themselves.
OTHERS = ("FAREBOX_PAY_", "FAREBOX_TEST_", "FAREBOX_API_KEY")
UNKNOWN = "no such setting; config/default.toml lists them all"


def load(config_file: Path | None = None) -> Settings:
    """Return the settings of this process.

    ``SettingsError`` names every setting that is missing or wrong, by the variable that sets it, and never
    repeats a value: it may be a secret.
    """
    try:
        found = with_file(config_file)() if config_file else Settings()
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        sentences = [
            f"{variable(one['loc'])}: "
            + (UNKNOWN if one["type"] == "extra_forbidden" else one["msg"].removeprefix("Value error, "))
            for one in problems
        ]
        raise SettingsError("\n".join(sentences)) from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{config_file}: {error}") from None
    except ValueError as error:
        # A group that is given as one variable, or a list in a group, is JSON.
        field = re.search(r'field "(\w+)"', str(error))
        named = variable((field[1],)) if field else "a setting"
        raise SettingsError(f"{named}, or a list of it, is not JSON") from None
    if unknown := sorted(name for name in os.environ if is_unknown(name)):  # noqa: TID251 - this module may
        raise SettingsError(f"{', '.join(unknown)}: {UNKNOWN}")
    return found


def is_unknown(name: str) -> bool:
    """Whether a variable looks like a setting of ours and is none: most likely it is misspelt."""
    setting = name.removeprefix("FAREBOX_").partition("__")[0].lower()
    is_ours = name.startswith("FAREBOX_") and not name.startswith(OTHERS)
    return is_ours and setting not in Settings.model_fields


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


def adopt(changes: Mapping[str, str]) -> None:
    """Take these variables for this process's own, which was forked and not started with them."""
    os.environ.update(changes)  # noqa: TID251 - this module may

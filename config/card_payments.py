"""Who takes cards for us, and how much at a time."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, model_validator

from config.lists import parse_json

Mode: TypeAlias = Literal["live", "test"]
Origin = Annotated[str, Field(pattern=r"^https?://[^/?#\s]+$")]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(parse_json)]


def are_different(value: Mapping[str, UUID]) -> Mapping[str, UUID]:
    if len(set(value.values())) != len(value):
        raise ValueError("a product is one plan's only")
    return value


Products = Annotated[Mapping[str, UUID], BeforeValidator(parse_json), AfterValidator(are_different)]


def is_stripe_key(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("sk_live_", "sk_test_", "rk_live_", "rk_test_")):
        raise ValueError(
            "is no secret key of Stripe: they start with sk_live_, sk_test_, rk_live_ or rk_test_"
        )
    return value


class Stripe(BaseModel, frozen=True, extra="forbid"):
    secret_key: Annotated[SecretStr, AfterValidator(is_stripe_key)] | None = None
    publishable_key: Annotated[str, Field(pattern=r"^pk_(live|test)_\w+$")] | None = None
    webhook_secrets: Secrets = ()
    api_base: Origin | None = None
    asset: UUID | None = None

    @property
    def mode(self) -> Mode:
        """A key says itself whose money it moves."""
        key = self.secret_key.get_secret_value() if self.secret_key else ""
        return "live" if key.startswith(("sk_live_", "rk_live_")) else "test"


class Polar(BaseModel, frozen=True, extra="forbid"):
    access_token: SecretStr | None = None
    webhook_secrets: Secrets = ()
    environment: Literal["production", "sandbox"] = "production"
    api_base: Origin | None = None
    product_id: UUID | None = None
    products: Products = {}
    asset: UUID | None = None

    @property
    def mode(self) -> Mode:
        return "live" if self.environment == "production" else "test"


class CardPayments(BaseModel, frozen=True, extra="forbid"):
    deposit_cents_min: Annotated[int, Field(ge=50, le=99_999_999)] = 500
    deposit_cents_max: Annotated[int, Field(ge=50, le=99_999_999)] = 30_000
    keep_days: Annotated[int, Field(ge=7, le=3650)] = 90

    @model_validator(mode="after")
    def is_a_range(self) -> "CardPayments":
        if self.deposit_cents_min > self.deposit_cents_max:
            raise ValueError("deposit_cents_min is more than deposit_cents_max")
        return self

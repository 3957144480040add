"""The chains that payments may arrive on, and who settles them."""

from decimal import ROUND_CEILING, Context, Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]

# Chains whose money is worth nothing, by EIP-155 id; any other chain is live unless its setting says
# otherwise.
TEST_CHAINS = frozenset(
    {1337, 31337, 84532, 11155111, 421614, 11155420, 43113, 80002, 97, 10200, 131277322940537}
)


# The names version 1 gave to chains, by EIP-155 id. Version 2 says CAIP-2 for all of them.
V1_NAMES = {
    8453: "base", 84532: "base-sepolia", 43114: "avalanche", 43113: "avalanche-fuji", 137: "polygon",
    80002: "polygon-amoy", 1329: "sei", 1328: "sei-testnet", 4689: "iotex", 2741: "abstract",
    11124: "abstract-testnet", 3338: "peaq",
}  # fmt: skip


# Where the contract Multicall3 is on nearly every chain that has it.
MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"


class AssetSettings(BaseModel, frozen=True, extra="forbid"):
    """An EIP-3009 token. ``name`` and ``version`` are those of its EIP-712 domain."""

    address: Address
    symbol: Annotated[str, Field(min_length=1, max_length=16)]
    decimals: Annotated[int, Field(ge=0, le=36)]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[str, Field(min_length=1, max_length=16)]
    price_min: Annotated[Decimal, Field(ge=0, max_digits=40)] = Decimal(0)

    @property
    def least(self) -> int:
        """``price_min`` in atomic units."""
        scaled = self.price_min.scaleb(self.decimals, Context(prec=120))
        return int(scaled.to_integral_value(ROUND_CEILING))


class Depth(BaseModel, frozen=True, extra="forbid"):
    """Payments of this amount or more wait for so many blocks. The amount is in whole tokens."""

    amount: Annotated[Decimal, Field(ge=0, max_digits=40)]
    confirmations: Annotated[int, Field(ge=1, le=1000)]

    def is_reached(self, amount: int, decimals: int) -> bool:
        return amount >= self.amount.scaleb(decimals, Context(prec=120))


def is_private_key(key: str) -> bool:
    text = key.removeprefix("0x")
    try:
        return len(text) == 64 and int(text, 16) > 0
    except ValueError:
        return False


class Network(BaseModel, frozen=True, extra="forbid"):
    """A chain that payments may arrive on, by its CAIP-2 id.

    It is settled with keys of our own at a node, or by a remote facilitator.
    """

    id: Annotated[str, Field(pattern=r"^eip155:[1-9][0-9]{0,18}$")]
    rpc_url: str | None = None
    facilitator_key: SecretStr | None = None
    facilitator_keys: Annotated[tuple[SecretStr, ...], Field(max_length=32)] = ()
    facilitator_url: Annotated[str, Field(pattern=r"^https?://[^?#\s]+$")] | None = None
    facilitator_authorization: SecretStr | None = None
    assets: Annotated[tuple[AssetSettings, ...], Field(min_length=1)]
    pay_to: Address | None = None
    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] | None = None
    mode: Literal["live", "test"] | None = None
    confirmations: Annotated[int, Field(ge=1, le=1000)] = 1
    confirmations_from: tuple[Depth, ...] = ()
    final_blocks: Annotated[int, Field(ge=1, le=100_000)] = 64
    settle_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30
    gas_limit: Annotated[int, Field(ge=50_000, le=5_000_000)] = 200_000
    wallet_factories: Annotated[tuple[Address, ...], Field(max_length=32)] = ()
    deployment_gas_limit: Annotated[int, Field(ge=50_000, le=5_000_000)] = 1_000_000
    replace_after_seconds: Annotated[float, Field(gt=0, le=3600)] = 30
    multicall_address: Address | Literal[""] = MULTICALL3
    payer_failures_max: Annotated[int, Field(ge=0, le=1000)] = 5
    payments_per_transaction_max: Annotated[int, Field(ge=1, le=200)] = 32

    @field_validator("facilitator_key")
    @classmethod
    def is_private_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not is_private_key(key.get_secret_value()):
            raise ValueError("a private key is 32 bytes in hexadecimal")
        return key

    @field_validator("facilitator_keys")
    @classmethod
    def are_private_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(is_private_key(key.get_secret_value()) for key in keys):
            raise ValueError("a private key is 32 bytes in hexadecimal")
        return keys

    @model_validator(mode="after")
    def has_one_facilitator(self) -> Self:
        if self.facilitator_url is None and (self.rpc_url is None or not self.keys):
            raise ValueError("a network needs rpc_url and facilitator_key, or facilitator_url")
        if self.facilitator_url is not None and self.keys:
            raise ValueError("a network with facilitator_url has no facilitator_key: it would never be used")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """The private keys that submit settlements, each once; none when a remote facilitator does."""
        chosen = (self.facilitator_key, *self.facilitator_keys)
        return tuple(dict.fromkeys(key.get_secret_value() for key in chosen if key is not None))

    @property
    def v1_name(self) -> str:
        """What version 1 of x402 calls it."""
        return self.name or V1_NAMES.get(self.chain_id, self.id)

    def depth(self, amount: int, decimals: int) -> int:
        """How many blocks a payment of so many atomic units waits for."""
        reached = (one.confirmations for one in self.confirmations_from if one.is_reached(amount, decimals))
        return max(self.confirmations, *reached, 1)

    @property
    def chain_id(self) -> int:
        return int(self.id.partition(":")[2])

    @property
    def is_test(self) -> bool:
        return self.mode == "test" or (self.mode is None and self.chain_id in TEST_CHAINS)

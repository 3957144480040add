from typing import Annotated, Literal

from pydantic import BaseModel, Field


class SupportedAsset(BaseModel):
    asset: Annotated[str, Field(description="The token's contract.")]
    symbol: str
    name: Annotated[str, Field(description="Of its EIP-712 domain.")]
    version: Annotated[str, Field(description="Of its EIP-712 domain.")]
    decimals: int


class SupportedExtra(BaseModel):
    assets: list[SupportedAsset]


class SupportedKind(BaseModel):
    x402Version: Literal[1, 2]  # noqa: N815
    scheme: Literal["exact"] = "exact"
    network: Annotated[str, Field(description="CAIP-2 in version 2, a name in version 1.")]
    extra: SupportedExtra


class Supported(BaseModel):
    kinds: list[SupportedKind]
    extensions: list[str] = []
    signers: Annotated[
        dict[str, list[str]], Field(description="The addresses that submit settlements, by kind of network.")
    ]


class Resources(BaseModel):
    """What can be bought here by x402."""

    version: Literal[1] = 1
    resources: Annotated[
        list[str], Field(description="URLs that answer 402 with an offer, GET ones and others.")
    ]
    catalog: Annotated[
        str, Field(description="Where every publisher is listed with its endpoints and prices.")
    ]

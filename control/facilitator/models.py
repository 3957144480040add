from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

JsonObject = Annotated[dict[str, Any], Field(max_length=50)]


class FacilitatorRequest(BaseModel):
    x402Version: Literal[1, 2]  # noqa: N815
    paymentPayload: Annotated[  # noqa: N815
        JsonObject, Field(description="What the payer sent, decoded.")
    ]
    paymentRequirements: Annotated[  # noqa: N815
        JsonObject, Field(description="The offer that it has to be for, in the form of its version.")
    ]


class VerifyResponse(BaseModel):
    isValid: bool  # noqa: N815
    invalidReason: Annotated[str | None, Field(description="A code of the specification.")] = None  # noqa: N815
    invalidMessage: str | None = None  # noqa: N815
    payer: str | None = None


class SettleResponse(BaseModel):
    success: bool
    errorReason: Annotated[  # noqa: N815
        str | None,
        Field(description="A code of the specification; after `settlement_pending`, ask the same again."),
    ] = None
    errorMessage: str | None = None  # noqa: N815
    transaction: Annotated[str, Field(description="Empty when nothing was sent.")]
    network: str
    payer: str | None = None
    amount: str | None = None

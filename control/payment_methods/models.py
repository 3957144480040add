from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.wording import shaped


class PaymentMethod(BaseModel):
    id: UUID
    type_: Annotated[
        str,
        Field(description="`card`, or another type of Stripe's."),
    ]
    card_brand: str | None = None
    card_last4: str | None = None
    card_exp_month: int | None = None
    card_exp_year: int | None = None
    bank_last4: str | None = None
    is_default: bool


class AddPaymentMethodRequest(BaseModel, extra="forbid"):
    stripe_payment_method_id: Annotated[
        str,
        shaped(
            r"^pm_[A-Za-z0-9_]+$",
            "the id of a payment method at Stripe, like pm_1Nv…",
            max_length=255,
            description="What Stripe made of the card in the client's browser, pm_…",
        ),
    ]
    set_as_default: bool


class PaymentMethodAdded(BaseModel):
    id: UUID
    message: str


class SetupIntent(BaseModel):
    id: Annotated[str, Field(description="Stripe's, seti_…")]
    client_secret: Annotated[str, Field(description="For Stripe's own script in the browser.")]
    publishable_key: Annotated[str | None, Field(description="The same; null where the operator set none.")]

from control.api.operation import Call, Room
from control.facilitator.models import FacilitatorRequest, SettleResponse, VerifyResponse
from gateway.kit.problem import Invalid
from gateway.x402.facilitating import FacilitatorForOthers, GasBudgetSpent
from gateway.x402.intake import PaymentsUnavailable

room = Room("facilitator", "/facilitator")


@room.post(
    "/verify",
    access="facilitator.use",
    is_change=False,
    fails=[Invalid, PaymentsUnavailable],
    is_transaction=False,
    id="facilitator_verify",
)
async def verify(call: Call, *, body: FacilitatorRequest) -> VerifyResponse:
    """Say whether a payment would settle now.

    Nothing is kept and nothing is sent. Only assets of `/facilitator/supported` are known here.
    """
    facilitator: FacilitatorForOthers = call.ports.facilitator
    verdict = await facilitator.verify(
        call.actor.mode, body.x402Version, body.paymentPayload, body.paymentRequirements
    )
    return VerifyResponse(
        isValid=verdict.failure is None,
        invalidReason=verdict.failure,
        invalidMessage=verdict.detail,
        payer=verdict.payer,
    )


@room.post(
    "/settle",
    access="facilitator.use",
    fails=[Invalid, PaymentsUnavailable, GasBudgetSpent],
    is_transaction=False,
    id="facilitator_settle",
)
async def settle(call: Call, *, body: FacilitatorRequest) -> SettleResponse:
    """Settle a payment on chain.

    The gas is this installation's, within your organization's budget. The same payment asked for again is
    settled once, and the answer says how it stands.
    """
    facilitator: FacilitatorForOthers = call.ports.facilitator
    verdict = await facilitator.settle(
        call.actor.organization_id,
        call.actor.mode,
        body.x402Version,
        body.paymentPayload,
        body.paymentRequirements,
    )
    is_settled = verdict.failure is None
    return SettleResponse(
        success=is_settled,
        errorReason=verdict.failure,
        errorMessage=verdict.detail,
        transaction=verdict.transaction,
        network=verdict.network,
        payer=verdict.payer,
        amount=str(verdict.amount) if is_settled else None,
    )

"""Every type of event there is: what it tells, and what its payload looks like.

A type is added here first, in the change that emits it: none is listed that nothing emits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

EventType: TypeAlias = Literal[
    "branch.created",
    "branch.deleted",
    "branch.failed",
    "branch.reset",
    "branch.restored",
    "database.created",
    "database.deleted",
    "database_role.created",
    "database_role.deleted",
    "database_role.password_changed",
    "invoice.issued",
    "invoice.paid",
    "invoice.reminder",
    "invoice.reopened",
    "invoice.voided",
    "charge.created",
    "charge.refunded",
    "charge.slashed",
    "key.cap_near",
    "key.cap_reached",
    "key.created",
    "key.revoked",
    "key.updated",
    "member.invited",
    "member.joined",
    "member.removed",
    "member.role_changed",
    "organization.deleted",
    "organization.resumed",
    "organization.suspended",
    "organization.updated",
    "payment.reversed",
    "payment.settled",
    "plan.changed",
    "payout.failed",
    "payout.requested",
    "payout.returned",
    "payout.sent",
    "project.created",
    "project.deleted",
    "project.moved",
    "project.purged",
    "project.restored",
    "project.updated",
    "publisher.created",
    "publisher.deleted",
    "publisher.updated",
    "quota.near",
    "quota.reached",
    "wallet.balance_low",
    "wallet.deposited",
    "wallet.grant_expired",
    "wallet.granted",
    "webhook.disabled",
]


@dataclass(frozen=True, slots=True)
class Described:
    sentence: str
    example: Mapping[str, Any]


ID = "019a1b2c-3d4e-7f60-8a9b-0c1d2e3f4a5b"
KEY = {"key_id": ID, "name": "my agent", "key_prefix": "fb_live_3fK9", "mode": "live"}
CAP = {"key_id": ID, "cap": "per_day", "limit_millionths": "10000000"}
PUBLISHER = {"publisher_id": ID, "slug": "weather", "name": "Weather"}
MEMBER = {"user_id": ID, "role": "editor"}
ORGANIZATION = {"organization_id": ID, "name": "Weather Ltd", "slug": "weather-ltd"}
BRANCH = {"branch_id": ID, "name": "dev"}
DATABASE = {"branch_id": ID, "database_id": ID, "name": "shop"}
DATABASE_ROLE = {"branch_id": ID, "role_id": ID, "name": "reader"}
PROJECT = {"project_id": ID, "name": "forecasts", "slug": "a1b2c3d4e5f6"}
GRANT = {"grant_id": ID, "asset_id": ID, "amount_atomic": "500000", "description": "Daily claim"}
MONEY = {"payment_id": ID, "asset_id": ID, "amount_atomic": "250000", "fee_atomic": "25000"}
QUOTA = {"quota": "projects", "used": "8", "limit": "10", "plan": "free", "is_hard": True}
INVOICE = {"invoice_id": ID, "invoice_number": "INV-000042", "month": "2026-10", "total_usd": "29.00"}

CHARGE = {
    "charge_id": ID, "publisher": "weather", "agent_wallet": "0x9a…", "asset_id": ID, "amount_atomic": "250",
    "description": "A report of 40 pages",
}  # fmt: skip
PAYOUT = {
    "payout_id": ID, "publisher_id": ID, "asset_id": ID, "amount_atomic": "2500",
    "destination_wallet": "0x9a…",
}  # fmt: skip

CATALOGUE: Mapping[EventType, Described] = {
    "branch.created": Described("A branch of a project is there, with its data.", BRANCH),
    "branch.deleted": Described("A branch was deleted, by somebody or because it expired.", BRANCH),
    "branch.failed": Described(
        "Something that was asked of a branch cannot be done. Its operations say the same.",
        {**BRANCH, "action": "reset_branch", "reason": "history is kept from 2026-11-01"},
    ),
    "branch.reset": Described("A branch has the data of its parent.", BRANCH),
    "branch.restored": Described(
        "A branch has the data of an earlier moment, or of another branch; a new one has what it had.",
        {**BRANCH, "backup_branch_id": ID},
    ),
    "database.created": Described("A database was created on a branch, by the API.", DATABASE),
    "database.deleted": Described("A database of a branch was dropped, by the API.", DATABASE),
    "database_role.created": Described("A Postgres role was created on a branch, by the API.", DATABASE_ROLE),
    "database_role.deleted": Described("A Postgres role of a branch was dropped, by the API.", DATABASE_ROLE),
    "database_role.password_changed": Described(
        "A Postgres role of a branch has another password, by the API.", DATABASE_ROLE
    ),
    "invoice.issued": Described(
        "An invoice of a month was issued. One with nothing due is paid at once.", INVOICE
    ),
    "invoice.paid": Described(
        "An invoice was paid: from your balance (`wallet`), or by `stripe`, `polar` or `bank`.",
        {**INVOICE, "source": "stripe"},
    ),
    "invoice.reminder": Described(
        "An invoice is not paid: `due_soon`, three days before its date, `overdue`, `overdue_still` a week "
        "later, `restricted` when there are no new projects and no paid plans until it is paid. Each once.",
        {**INVOICE, "due_at": "2026-11-15T00:10:00+00:00", "stage": "overdue"},
    ),
    "invoice.reopened": Described(
        "The payment of an invoice was disputed and taken back: it is to be paid again, by `due_at`.",
        {**INVOICE, "due_at": "2026-11-15T00:10:00+00:00", "source": "stripe"},
    ),
    "invoice.voided": Described("The operator voided an invoice: nothing is owed for it.", INVOICE),
    "charge.created": Described("A first-party publisher charged your wallet without a call.", CHARGE),
    "charge.refunded": Described("All or a part of such a charge came back to your balance.", CHARGE),
    "charge.slashed": Described("A penalty for such a charge was taken from your balance.", CHARGE),
    "key.cap_near": Described(
        "An API key has spent 80 % of a cap. Once a day for the day's cap, once for the total.",
        {**CAP, "spent_millionths": "8200000"},
    ),
    "key.cap_reached": Described(
        "A call was refused because its API key's cap is spent. Once a day, or until the total is changed.",
        {**CAP, "spent_millionths": "10000000"},
    ),
    "key.created": Described("An API key was made. `project_id` is there for a project's key.", KEY),
    "key.revoked": Described(
        "An API key was revoked, by somebody or because its user left or its project was moved.",
        {"key_id": ID},
    ),
    "key.updated": Described("An API key's name, scopes or spend caps were changed.", {"key_id": ID}),
    "member.invited": Described(
        "Somebody was invited by mail, once more perhaps. The link is in the letter only.",
        {"invitation_id": ID, "email": "ada@example.com", "role": "editor", "invited_by": ID},
    ),
    "member.joined": Described(
        "Somebody accepted an invitation. `project_id` is there for a project's member, as in the other "
        "events of members.",
        MEMBER,
    ),
    "member.removed": Described("A member left or was removed.", {"user_id": ID}),
    "member.role_changed": Described("A member was given another role.", {**MEMBER, "role": "admin"}),
    "organization.deleted": Described("The organization was deleted.", {"organization_id": ID}),
    "organization.resumed": Described("The operator lets the organization act again.", ORGANIZATION),
    "organization.suspended": Described(
        "The operator suspended the organization: its keys and its publishers are refused.", ORGANIZATION
    ),
    "organization.updated": Described("The organization was renamed.", ORGANIZATION),
    "payment.reversed": Described(
        "A payment by card was refunded or disputed (`reason`), and its money went back. What you had spent "
        "already is owed, and taken once you have money again.",
        {
            "payment_id": ID, "reversal_id": ID, "asset_id": ID, "reason": "dispute",
            "taken_atomic": "250000", "owed_atomic": "0",
        },
    ),
    "payment.settled": Described(
        "A caller's x402 payment to one of your publishers settled on chain. Calls that are paid from a "
        "balance are too many to be told one by one. Kept only while a webhook wants it.",
        {**MONEY, "description": "GET weather /oslo"},
    ),
    "plan.changed": Described(
        "The organization chose another plan, which holds from `starts_at`.",
        {"plan_id": ID, "plan": "pro", "starts_at": "2026-11-01T00:00:00+00:00"},
    ),
    "payout.failed": Described(
        "A payout certainly was not sent, and its amount is among your earnings again.",
        {**PAYOUT, "reason": "the token refuses the transfer"},
    ),
    "payout.requested": Described("Somebody asked for a payout of your earnings.", PAYOUT),
    "payout.returned": Described(
        "A payout came back after it was sent, and its amount is among your earnings again.",
        {**PAYOUT, "reason": "the bank returned it"},
    ),
    "payout.sent": Described(
        "A payout arrived. `tx_hash` is there if it was sent on chain, `reference` if a person sent it.",
        {**PAYOUT, "tx_hash": "0x5c…"},
    ),
    "project.created": Described("A project was created.", PROJECT),
    "project.deleted": Described("A project was deleted.", {"project_id": ID}),
    "project.moved": Described(
        "A project moved to another organization. Both are told, and webhooks of the project stay behind.",
        {"project_id": ID, "from_organization_id": ID, "to_organization_id": ID},
    ),
    "project.purged": Described("A deleted project's data is thrown away for good.", {"project_id": ID}),
    "project.restored": Described("A deleted project was taken back by the operator.", {"project_id": ID}),
    "project.updated": Described("A project's name or settings were changed.", {"project_id": ID}),
    "publisher.created": Described("A publisher was put on sale.", PUBLISHER),
    "publisher.deleted": Described("A publisher was deleted.", {"publisher_id": ID}),
    "publisher.updated": Described("A publisher, or what a call costs, was changed.", {"publisher_id": ID}),
    "quota.near": Described("80 % of a quota is used. Once a month for each quota.", QUOTA),
    "quota.reached": Described(
        "A quota is used up. `is_hard` says whether more is refused. Once a month for each quota.",
        {**QUOTA, "used": "10"},
    ),
    "wallet.balance_low": Described(
        "A charge took your balance of an asset below the threshold.",
        {"asset_id": ID, "threshold_atomic": "1000000", "balance_atomic": "990000"},
    ),
    "wallet.deposited": Described(
        "A payment on chain or by card was credited to your balance. Of those on chain it is kept only while "
        "a webhook wants it.",
        {**MONEY, "fee_atomic": "0", "description": "Deposit of USDC from 0x9a…"},
    ),
    "wallet.grant_expired": Described(
        "Promotional money expired; `amount_atomic` is what was not spent. A grant that calls still drew on "
        "expires in several steps.",
        GRANT,
    ),
    "wallet.granted": Described(
        "You were given promotional money, which pays for your calls first and until it expires.",
        {**GRANT, "reason": "daily", "expires_at": "2026-12-31T00:00:00+00:00"},
    ),
    "webhook.disabled": Described(
        "A webhook is not called any more: its receiver answered 410 (`gone`), or no attempt has succeeded "
        "for five days (`failing`). Your other webhooks are told.",
        {"webhook_id": ID, "name": "billing", "url": "https://example.com/hook", "reason": "failing"},
    ),
}  # fmt: skip

"""What there is to be allowed: every permission, and what the built-in roles grant.

A permission is a resource and an action. Each operation of the API names the one that it needs, in
``access=``; the table in ``control/README.md`` shows them all.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeAlias, get_args
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AfterValidator, WithJsonSchema

CATALOGUE: Mapping[str, str] = {
    "account.read": "See your own account, and what you are invited to.",
    "account.write": "Change your own account, accept invitations, and make organizations.",
    "analytics.read": "See what publishers take in, and from whom.",
    "api_keys.read": "List API keys, without the keys themselves.",
    "api_keys.write": "Create, narrow and revoke API keys.",
    "audit_logs.read": "Read who changed what, when and from where.",
    "billing.read": "See plans and quotas, what was used, invoices and cards.",
    "billing.write": "Choose a plan, pay invoices, and add and remove cards.",
    "charges.read": "See what first-party publishers charged wallets for.",
    "charges.write": "Charge wallets for first-party publishers, refund charges, and take penalties.",
    "earnings.read": "See what publishers earned, and what of it was paid out.",
    "facilitator.use": "Verify and settle payments for others, within the gas budget.",
    "members.read": "List members and invitations.",
    "members.write": "Invite and remove members, and give them roles.",
    "oauth.read": "See which of your own accounts elsewhere are connected.",
    "oauth.write": "Connect your own accounts elsewhere, and disconnect them.",
    "oauth_providers.write": "Register the OAuth applications that members connect through.",
    "organizations.delete": "Delete the organization.",
    "organizations.read": "See the organization.",
    "organizations.write": "Rename the organization.",
    "payouts.read": "See payouts of earnings, and how they stand.",
    "payouts.write": "Have earnings paid out to a wallet.",
    "permissions.read": "See what there is to be allowed, and what you may do.",
    "platform.operate": "Run this installation: verify and suspend, and pay out by hand.",
    "projects.delete": "Delete projects, move them to another organization, and protect branches.",
    "projects.read": "See projects, with their branches and endpoints.",
    "projects.write": "Create and change projects and their databases, and see how to connect.",
    "publishers.read": "See what the organization sells, secrets excepted.",
    "publishers.write": "Publish APIs, change them and their prices, and take them down.",
    "roles.read": "List roles and what they grant.",
    "roles.write": "Create, change and delete custom roles.",
    "studio.use": "See and change what is in a project's database, by statements of one's own, too.",
    "wallet.deposit": "Put money into the wallet.",
    "wallet.read": "See balances, transactions and what calls cost.",
    "wallet.spend": "Pay for calls. No operation of the management API spends.",
    "webhooks.read": "See webhooks and what was delivered to them.",
    "webhooks.write": "Register, change and remove webhooks, and deliver again.",
}

# Whoever may do anything at all may ask what: a narrow key has to be able to find out that it is narrow.
FOR_EVERYBODY = frozenset({"permissions.read"})
# An account is everybody's own, whatever their role in an organization is.
OWN_ACCOUNT = frozenset({"account.read", "account.write"})
# Only the platform's own organization can grant it.
OPERATE = "platform.operate"

BuiltIn: TypeAlias = Literal["owner", "admin", "editor", "viewer"]
BUILT_IN: tuple[BuiltIn, ...] = get_args(BuiltIn)

VIEWER = frozenset(one for one in CATALOGUE if one.endswith(".read")) - {"audit_logs.read"}
VIEWER |= OWN_ACCOUNT
EDITOR = VIEWER | {
    "charges.write",
    "facilitator.use",
    "oauth.write",
    "projects.write",
    "publishers.write",
    "wallet.deposit",
    "wallet.spend",
}
ADMIN = EDITOR | {
    "api_keys.write",
    "audit_logs.read",
    "billing.write",
    "members.write",
    "oauth_providers.write",
    "organizations.write",
    "payouts.write",
    "projects.delete",
    "roles.write",
    "studio.use",
    "webhooks.write",
}
OWNER = ADMIN | {"organizations.delete"}
GRANTS: Mapping[BuiltIn, frozenset[str]] = {
    "owner": OWNER,
    "admin": ADMIN,
    "editor": EDITOR,
    "viewer": VIEWER,
}
PURPOSES: Mapping[BuiltIn, str] = {
    "owner": "May do everything, deleting the organization included.",
    "admin": "Runs the organization: its members, roles, keys and everything an editor may.",
    "editor": "Builds, publishes and spends.",
    "viewer": "Looks, and changes nothing.",
}

# What a project's own members and keys may do in it: nothing of the organization around it.
OF_A_PROJECT = frozenset(
    {
        "api_keys.read",
        "api_keys.write",
        "members.read",
        "members.write",
        "projects.delete",
        "projects.read",
        "projects.write",
        "studio.use",
    }
)

V1Role: TypeAlias = Literal["viewer", "developer", "admin", "owner"]
FROM_V1: Mapping[V1Role, BuiltIn] = {
    "viewer": "viewer",
    "developer": "editor",
    "admin": "admin",
    "owner": "owner",
}
TO_V1: Mapping[BuiltIn, V1Role] = {ours: theirs for theirs, ours in FROM_V1.items()}


def known(name: str) -> str:
    if name not in CATALOGUE:
        raise ValueError("is not a permission; GET /permissions lists them")
    return name


Permission = Annotated[
    str, AfterValidator(known), WithJsonSchema({"type": "string", "enum": sorted(CATALOGUE)})
]


def of_project(role: BuiltIn) -> frozenset[str]:
    return GRANTS[role] & OF_A_PROJECT


def id_of(name: str) -> UUID:
    """Permissions and built-in roles have no rows; their ids are the same in every installation."""
    return uuid5(NAMESPACE_URL, f"farebox:{name}")


def as_v1(role: BuiltIn | None, permissions: Iterable[str]) -> V1Role:
    """A custom role is shown as the greatest built-in one that grants no more."""
    if role is not None:
        return TO_V1[role]
    held = frozenset(permissions)
    return next((TO_V1[one] for one in BUILT_IN if GRANTS[one] <= held), "viewer")

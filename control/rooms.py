"""Every room, listed."""

from control.api_keys.routes import room as api_keys
from control.audit_logs.routes import room as audit_logs
from control.auth.routes import room as auth
from control.facilitator.routes import room as facilitator
from control.invites.routes import room as invites
from control.me.routes import room as me
from control.members.routes import room as members
from control.oauth.routes import room as oauth
from control.organizations.routes import room as organizations
from control.payments.routes import room as payments
from control.permissions.routes import room as permissions
from control.projects.routes import room as projects
from control.providers.routes import room as providers
from control.publishers.routes import room as publishers
from control.recovery.routes import room as recovery
from control.sessions.routes import room as sessions
from control.settlements.routes import room as settlements
from control.transactions.routes import room as transactions
from control.wallet.routes import room as wallet
from control.webhooks.routes import room as webhooks

ROOMS = (
    api_keys,
    audit_logs,
    auth,
    facilitator,
    invites,
    me,
    members,
    oauth,
    organizations,
    payments,
    permissions,
    projects,
    providers,
    publishers,
    recovery,
    sessions,
    settlements,
    transactions,
    wallet,
    webhooks,
)

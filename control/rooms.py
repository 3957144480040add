"""Every room, listed."""

from control.api_keys.routes import room as api_keys
from control.auth.routes import room as auth
from control.facilitator.routes import room as facilitator
from control.me.routes import room as me
from control.oauth.routes import room as oauth
from control.organizations.routes import room as organizations
from control.payments.routes import room as payments
from control.providers.routes import room as providers
from control.publishers.routes import room as publishers
from control.sessions.routes import room as sessions
from control.wallet.routes import room as wallet
from control.webhooks.routes import room as webhooks

ROOMS = (
    api_keys,
    auth,
    facilitator,
    me,
    oauth,
    organizations,
    payments,
    providers,
    publishers,
    sessions,
    wallet,
    webhooks,
)

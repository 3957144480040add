"""Every room, listed."""

from control.api_keys.routes import room as api_keys
from control.auth.routes import room as auth
from control.facilitator.routes import room as facilitator
from control.me.routes import room as me
from control.organizations.routes import room as organizations
from control.payments.routes import room as payments
from control.publishers.routes import room as publishers
from control.sessions.routes import room as sessions
from control.wallet.routes import room as wallet

ROOMS = (api_keys, auth, facilitator, me, organizations, payments, publishers, sessions, wallet)

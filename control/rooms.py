"""Every room, listed."""

from control.analytics.routes import room as analytics
from control.api_keys.routes import room as api_keys
from control.audit_logs.routes import room as audit_logs
from control.auth.routes import room as auth
from control.billing.routes import room as billing
from control.bonus.routes import room as bonus
from control.branch_protection.routes import room as branch_protection
from control.branches.routes import room as branches
from control.charges.routes import room as charges
from control.consumption.routes import room as consumption
from control.daily.routes import room as daily
from control.database_roles.routes import room as database_roles
from control.databases.routes import room as databases
from control.deposit.routes import room as deposit
from control.earnings.routes import room as earnings
from control.endpoints.routes import room as endpoints
from control.facilitator.routes import room as facilitator
from control.invites.routes import room as invites
from control.invoices.routes import room as invoices
from control.ip_allow.routes import room as ip_allow
from control.me.routes import room as me
from control.members.routes import room as members
from control.oauth.routes import room as oauth
from control.operations.routes import room as operations
from control.organizations.routes import room as organizations
from control.payment_events.routes import room as payment_events
from control.payment_methods.routes import room as payment_methods
from control.payments.routes import room as payments
from control.payouts.routes import room as payouts
from control.permissions.routes import room as permissions
from control.plans.routes import room as plans
from control.projects.routes import room as projects
from control.promotions.routes import room as promotions
from control.providers.routes import room as providers
from control.publications.routes import room as publications
from control.publishers.routes import room as publishers
from control.recovery.routes import room as recovery
from control.referral.routes import room as referral
from control.replication_slots.routes import room as replication_slots
from control.sessions.routes import room as sessions
from control.settlements.routes import room as settlements
from control.studio.routes import room as studio
from control.transactions.routes import room as transactions
from control.vpc_endpoints.routes import room as vpc_endpoints
from control.wallet.routes import room as wallet
from control.webhooks.routes import room as webhooks

ROOMS = (
    analytics,
    api_keys,
    audit_logs,
    auth,
    billing,
    bonus,
    branch_protection,
    branches,
    charges,
    consumption,
    daily,
    database_roles,
    databases,
    deposit,
    earnings,
    endpoints,
    facilitator,
    invites,
    invoices,
    ip_allow,
    me,
    members,
    oauth,
    operations,
    organizations,
    payment_events,
    payment_methods,
    payments,
    payouts,
    permissions,
    plans,
    projects,
    promotions,
    providers,
    publications,
    publishers,
    recovery,
    referral,
    replication_slots,
    sessions,
    settlements,
    studio,
    transactions,
    vpc_endpoints,
    wallet,
    webhooks,
)

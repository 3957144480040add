from uuid import UUID

from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import OrgId
from control.identity import organizations
from control.identity.people import slug_of
from control.invoicing import closing, drafting
from control.organizations import store
from control.organizations.models import (
    OperatedOrganization,
    Organization,
    Suspension,
    V1Deleted,
    V1NewOrg,
    V1Org,
    V1OrgChange,
    V1Orgs,
    V1OrgShown,
)
from control.quotas import headroom
from gateway.kit import ids
from gateway.kit.problem import NotFound, Refusal
from gateway.ledger import events
from gateway.ledger.event_types import EventType

room = Room("organizations", "/organizations")


class OrgSlugTaken(Refusal):
    status, slug, title = 409, "org-slug-taken", "Organization slug already exists"


class TooManyOrgs(Refusal):
    status, slug, title = 409, "too-many-orgs", "Too many teams"


class NotFoundOrNotWritable(Refusal):
    status, slug, title = 404, "not-found-or-not-writable", "No such team"


class CannotDeleteOrg(Refusal):
    status, slug, title = 400, "cannot-delete-org", "The organization cannot be deleted"


@room.get(access="organizations.read", id="list_organizations")
async def index(call: Call) -> Data[list[Organization]]:
    """List the organizations that you can act for, your personal one first.

    An API key acts for the one organization it was made in.
    """
    return Data(data=await own(call))


@room.patch(at="/platform/organizations/{subject_id}", access="platform.operate", fails=[NotFound])
async def suspend(call: Call, subject_id: UUID, *, body: Suspension) -> Data[OperatedOrganization]:
    """Suspend an organization, or let it act again.

    While it is suspended its keys are refused, paid calls included, its people can do nothing in it, and its
    publishers are found by nobody: a call to them is 404. The platform's own organization cannot be.
    """
    row = await organizations.suspend(call.db, subject_id, is_suspended=body.is_suspended)
    if row is None:
        raise NotFound(f"no organization {subject_id}")
    call.about(subject_id, organization_id=subject_id)
    told = {"organization_id": str(subject_id), "name": row["name"], "slug": row["slug"]}
    news: EventType = "organization.suspended" if body.is_suspended else "organization.resumed"
    await events.emit(call.db, subject_id, news, told)
    return Data(data=OperatedOrganization(**dict(row)))


@room.get(at="/v1/me/orgs", access="account.read", id="v1_list_my_orgs")
async def mine(call: Call) -> V1Orgs:
    """List the organizations that you belong to, your personal one first."""
    return V1Orgs(orgs=[as_v1(one) for one in await own(call)])


@room.post(at="/v1/orgs", access="account.write", fails=[OrgSlugTaken, TooManyOrgs], id="v1_create_org")
async def create(call: Call, *, body: V1NewOrg) -> V1OrgShown:
    """Create a team. You are its owner.

    An API key goes on acting in its own organization only.
    """
    most = call.ports.settings.accounts.teams_per_user_max
    if not await organizations.may_create(call.db, call.actor.user_id, most):
        raise TooManyOrgs(f"somebody makes up to {most} teams; delete one of yours")
    slug = body.slug or slug_of(body.name[:24], ids.new())
    made = await organizations.create(call.db, body.name, slug, call.actor.user_id)
    if made is None:
        raise OrgSlugTaken(f"the slug {slug} is taken")
    call.about(made, organization_id=made)
    return V1OrgShown(org=await shown(call, made))


@room.patch(
    at="/v1/orgs/{organization_id}",
    access="organizations.write",
    fails=[NotFoundOrNotWritable],
    id="v1_rename_org",
)
async def rename(call: Call, organization_id: OrgId, *, body: V1OrgChange) -> V1OrgShown:
    """Rename a team. A personal organization has its owner's name."""
    if not await organizations.rename(call.db, organization_id, body.name):
        raise NotFoundOrNotWritable("personal organizations are not renamed")
    renamed = await shown(call, organization_id)
    told = {"organization_id": str(organization_id), "name": renamed.name, "slug": renamed.slug}
    await events.emit(call.db, organization_id, "organization.updated", told)
    return V1OrgShown(org=renamed)


@room.delete(
    at="/v1/orgs/{organization_id}",
    access="organizations.delete",
    fails=[CannotDeleteOrg],
    id="v1_delete_org",
)
async def delete(call: Call, organization_id: OrgId) -> V1Deleted:
    """Delete a team. Its keys are refused from then on.

    One that still has projects, publishers, money (on its way out, too) or unpaid invoices is kept, and so is
    a personal one. So is one that owes for a card payment that was taken back, or that opened a page to pay
    on in the last day. So is one that owes for this month: choose the plan that costs nothing, which holds
    when the month is over, and pay its last invoice.
    """
    settings = call.ports.settings
    await headroom.lock(call.db, organization_id)
    terms = drafting.terms(settings.plans, settings.networks)
    if months := await closing.unbilled(call.db, terms, organization_id):
        named = " and ".join(f"{one.first:%Y-%m}" for one in months)
        raise CannotDeleteOrg(
            f"{named} is not invoiced yet; choose the plan that costs nothing, and pay what comes"
        )
    if not await organizations.delete(call.db, organization_id):
        raise CannotDeleteOrg(await organizations.why_kept(call.db, organization_id))
    told = {"organization_id": str(organization_id)}
    await events.emit(call.db, organization_id, "organization.deleted", told)
    return V1Deleted(deleted=organization_id)


async def own(call: Call) -> list[Organization]:
    only = call.actor.organization_id if call.actor.kind == "key" else None
    return await store.every(call.db, call.actor.user_id, only)


async def shown(call: Call, organization_id: UUID) -> V1Org:
    found = await store.get(call.db, organization_id)
    assert found is not None, "it was written in this transaction"
    return as_v1(found)


def as_v1(one: Organization) -> V1Org:
    return V1Org(id=one.id, slug=one.slug, name=one.name, personal=one.is_personal, created_at=one.created_at)

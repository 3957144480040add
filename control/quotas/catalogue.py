"""The plans of the settings, and which of them applies to an organization."""

from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

from config.plans import Plan


def id_of(plan: Plan) -> UUID:
    """Plans have no rows; their ids are the same in every installation."""
    return uuid5(NAMESPACE_URL, f"farebox:plan:{plan.id}")


def find(plans: Sequence[Plan], plan_id: UUID) -> Plan | None:
    return next((plan for plan in plans if id_of(plan) == plan_id), None)


def applying(plans: Sequence[Plan], plan_id: UUID | None) -> Plan:
    """Whoever chose none, or one that the operator has taken from the catalogue, has the first."""
    chosen = None if plan_id is None else find(plans, plan_id)
    return chosen or plans[0]

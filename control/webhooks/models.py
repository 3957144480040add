from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from control.api.fields import Name
from control.api.wire_ids import RootProjectId
from gateway.ledger.event_types import EventType

Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        description="Where events are POSTed: http or https, reachable from the public internet.",
    ),
]
Events = Annotated[
    list[Literal[EventType, "*"]],
    Field(min_length=1, max_length=100, description="The types to be told of; `*` is all of them."),
]
State = Literal["waiting", "delivered", "failed"]


class NewWebhook(BaseModel, extra="forbid"):
    name: Name
    url: Url
    events: Events
    project_id: Annotated[
        RootProjectId | None,
        Field(description="Be told only of events of this project: those with its `project_id`."),
    ] = None


class WebhookChange(BaseModel, extra="forbid"):
    """What is not sent stays as it is."""

    name: Name | None = None
    url: Url | None = None
    events: Events | None = None
    enabled: Annotated[
        bool | None,
        Field(description="False stops deliveries, those that wait for another attempt included."),
    ] = None


class Webhook(BaseModel):
    id: UUID
    organization_id: UUID
    project_id: UUID | None = None
    name: str
    url: str
    events: list[str]
    enabled: bool
    created_by: UUID
    created_at: datetime
    disabled_reason: Annotated[
        Literal["asked", "gone", "failing"] | None,
        Field(
            description="Why it is not enabled: it was asked for, the receiver answered 410, or no attempt "
            "succeeded for five days."
        ),
    ] = None
    disabled_at: datetime | None = None
    failing_since: Annotated[
        datetime | None, Field(description="Since when no attempt has succeeded; null while they do.")
    ] = None


class IssuedWebhook(BaseModel):
    webhook: Webhook
    secret: Annotated[
        str, Field(description="What signatures are made with, by Standard Webhooks. Shown this once.")
    ]


class Attempt(BaseModel):
    number: int
    started_at: datetime
    milliseconds: int
    response_status: Annotated[int | None, Field(description="Null when there was no answer.")]
    response_body: Annotated[str | None, Field(description="How the answer began.")]
    error_message: str | None


class Delivery(BaseModel):
    id: UUID
    webhook_id: UUID
    event_id: Annotated[UUID, Field(description="The `webhook-id` that the receiver sees.")]
    event_type: str
    payload: Annotated[dict[str, Any], Field(description="The body, as it is sent.")]
    state: State
    attempt_number: Annotated[int, Field(description="How many attempts were made; 8 at most.")]
    created_at: datetime
    delivered_at: datetime | None
    next_retry_at: Annotated[datetime | None, Field(description="Null when there will be none.")]
    response_status: int | None
    response_body: Annotated[str | None, Field(description="How the last answer began.")]
    error_message: Annotated[str | None, Field(description="Why there was no answer, or no delivery.")]


class DeliveryInFull(Delivery):
    attempts: list[Attempt]


class ReplayRequest(BaseModel, extra="forbid"):
    since: Annotated[AwareDatetime, Field(description="Events from then on. They are kept for a while only.")]
    only_failed: Annotated[
        bool, Field(description="Leave out what was delivered, or is on its way, already.")
    ] = False


class Replayed(BaseModel):
    queued: Annotated[int, Field(description="How many deliveries this made.")]
    has_more: Annotated[
        bool,
        Field(description="Whether there are more events than one request queues: ask again from `until`."),
    ]
    until: Annotated[
        datetime | None, Field(description="When the last event that was queued happened; null for none.")
    ]


class DescribedEventType(BaseModel):
    type: str
    description: str
    example: Annotated[dict[str, Any], Field(description="What `data` in the body looks like.")]

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr

from control.api.assets import AssetInfo
from control.api.fields import HYPHENATED, HYPHENATED_WORDS, HeaderName, HeaderValue, Name
from control.api.wording import shaped
from control.publishers.endpoints import Endpoint, Endpoints, PaymentFlow
from control.publishers.prices import PriceFields, Pricing, TokenExchange

Json = Any
Words = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=50)]
Url = Annotated[str, Field(max_length=2048)]
UpstreamHeaders = Annotated[dict[HeaderName, HeaderValue], Field(max_length=50)]
Slug = Annotated[
    str,
    shaped(
        HYPHENATED,
        HYPHENATED_WORDS,
        min_length=2,
        max_length=64,
        description="Its place in URLs: lower-case letters, digits, and single hyphens between them.",
    ),
]
Category = Annotated[
    Literal["database", "integration", "compute"], Field(description="What kind of thing it sells.")
]
Billing = Annotated[
    Literal["x402_per_request", "prepaid_credits", "x402_passthrough", "pay_per_use"],
    Field(
        description="What a call's cost is found by. `x402_per_request` and `prepaid_credits`: the price "
        "list. `pay_per_use`: what the answer says at `upstream_cost_response_path`. `x402_passthrough`: the "
        "API asks callers for an x402 payment itself. Its 402 is offered on, callers send what they pay it "
        "in `X-PAYMENT-UPSTREAM`, and the gateway takes its fee: the price list and `gateway_fee_percent`."
    ),
]
DatabaseType = Literal["serendb", "neon", "supabase", "mongodb"]
ComputeType = Literal["template", "workflow", "function", "agent"]
Policy = Annotated[
    Literal["default_allow", "default_deny"],
    Field(description="What happens to paths that no endpoint documents."),
]


class GeoRouting(BaseModel, extra="forbid"):
    proxy_region: Annotated[str, Field(min_length=1, max_length=32)]
    mode: Literal["always", "opt_in"] = "always"


class UsageExample(BaseModel, extra="forbid"):
    title: Annotated[str | None, Field(max_length=200)] = None
    description: Annotated[str | None, Field(max_length=2000)] = None
    curl: Annotated[str | None, Field(max_length=5000)] = None


class UpstreamAuth(BaseModel):
    """How the gateway proves itself to the upstream. Secrets are sealed, and never read back."""

    auth_type: Annotated[
        str | None, Field(max_length=64, description="An installed auth mode; `static` if not set.")
    ] = None
    upstream_api_key: SecretStr | None = None
    api_key_header: Annotated[
        str | None,
        Field(max_length=128, description="The header that carries it; `Authorization` if not set."),
    ] = None
    api_key_query_param: Annotated[
        str | None, Field(max_length=128, description="Or the query parameter that does.")
    ] = None
    api_headers: Annotated[dict[str, SecretStr] | None, Field(description="More secret headers.")] = None
    jwt_access_key: Annotated[str | None, Field(max_length=1024, description="The issuer claim.")] = None
    jwt_secret_key: SecretStr | None = None
    jwt_algorithm: Annotated[str | None, Field(max_length=16)] = None
    jwt_expiration_seconds: int | None = None
    oauth2_token_url: Url | None = None
    oauth2_client_id: Annotated[str | None, Field(max_length=1024)] = None
    oauth2_client_secret: SecretStr | None = None
    oauth2_scopes: Annotated[list[str] | None, Field(max_length=64)] = None
    allowed_passthrough_headers: Annotated[
        list[HeaderName] | None, Field(max_length=64, description="The caller's headers that are passed on.")
    ] = None
    passthrough_header_rewrite: Annotated[
        dict[HeaderName, HeaderName] | None,
        Field(max_length=64, description="What those are called upstream, by the caller's name for them."),
    ] = None
    auth_settings: Annotated[
        dict[str, Json] | None, Field(description="The settings of an auth mode that has fields of its own.")
    ] = None


class PublisherFields(PriceFields, TokenExchange, UpstreamAuth, extra="forbid"):
    """What can be given at first and changed later. Empty text or an empty list takes a value away."""

    description: Annotated[str | None, Field(max_length=10_000)] = None
    email: Annotated[str | None, Field(max_length=254, description="Where callers find support.")] = None
    logo_url: Url | None = None
    resource_name: Annotated[str | None, Field(max_length=200)] = None
    resource_description: Annotated[str | None, Field(max_length=2000)] = None
    categories: Words | None = None
    capabilities: Words | None = None
    use_cases: Words | None = None
    usage_examples: Annotated[list[UsageExample] | None, Field(max_length=50)] = None
    api_url: Annotated[Url | None, Field(description="The API to sell: its paths are appended to this.")] = (
        None
    )
    mcp_endpoint: Url | None = None
    a2a_endpoint_url: Url | None = None
    endpoints: Endpoints | None = None
    undocumented_endpoint_policy: Policy | None = None
    upstream_headers: Annotated[UpstreamHeaders | None, Field(description="Sent upstream; no secrets.")] = (
        None
    )
    request_content_type: Annotated[str | None, Field(max_length=200)] = None
    billing_model: Billing | None = None
    payment_flow: PaymentFlow | None = None
    requires_payment_identifier: Annotated[
        bool | None,
        Field(
            description="Whether x402 payments need a `payment-identifier`, by which callers repeat safely."
        ),
    ] = None
    gateway_fee_percent: Annotated[
        str | None,
        shaped(
            r"^(100(\.0{1,6})?|[1-9]?[0-9](\.[0-9]{1,6})?)?$",
            'a number from 0 to 100 with up to 6 decimals like "2.5", or empty to take it away',
            description="With `x402_passthrough`: the fee on top of what the API is paid, in percent of it.",
        ),
    ] = None
    upstream_cost_response_path: Annotated[
        str | None,
        Field(max_length=500, description="Where the answer says what it cost, like `usage.cost`."),
    ] = None
    integration_type: Literal["api", "mcp"] | None = None
    compute_type: ComputeType | None = None
    database_type: DatabaseType | None = None
    database_name: Annotated[str | None, Field(max_length=63)] = None
    database_config: Annotated[
        Json,
        Field(
            description='`{"connection_string": "postgresql://user:password@host/database?sslmode=…"}` of a '
            "PostgreSQL whose queries are sold, with a `root_certificate` if no public one vouches for it. "
            'Or `{"tables": ["items"]}` of the `branch_id`, and its `database_name`. It is sealed, and never '
            "read back: what is shown is what there is to query."
        ),
    ] = None
    project_id: UUID | None = None
    branch_id: UUID | None = None
    routing: GeoRouting | None = None
    requires_user_oauth: bool | None = None
    ownership_tracking_enabled: bool | None = None
    resource_id_response_path: Annotated[str | None, Field(max_length=500)] = None
    resource_id_url_pattern: Annotated[str | None, Field(max_length=1000)] = None
    protected_operations: Json = None


class NewPublisher(PublisherFields):
    name: Name
    slug: Slug
    publisher_category: Category
    publisher_type: Literal["individual", "organization", "verified_partner"] | None = None
    wallet_address: Annotated[str, Field(max_length=64, description="Where its money goes: an EVM address.")]
    wallet_network_id: Annotated[
        str, Field(max_length=64, description="The wallet's network, by its CAIP-2 id, like `eip155:8453`.")
    ]
    accepted_asset_ids: Annotated[
        list[UUID] | None,
        Field(min_length=1, max_length=50, description="Not set: every asset of the wallet's network."),
    ] = None
    oauth_provider_slug: Annotated[str | None, Field(max_length=64)] = None


class PublisherChange(PublisherFields):
    name: Name | None = None
    publisher_category: Category | None = None
    wallet_address: Annotated[str | None, Field(max_length=64)] = None
    wallet_network_id: Annotated[str | None, Field(max_length=64)] = None
    is_active: Annotated[
        bool | None, Field(description="False takes it out of the store and refuses calls.")
    ] = None
    add_asset_ids: Annotated[list[UUID] | None, Field(max_length=50)] = None
    remove_asset_ids: Annotated[list[UUID] | None, Field(max_length=50)] = None
    oauth_provider_id: UUID | None = None


class McpDiscovery(BaseModel):
    error: str | None = None
    last_attempt_at: datetime | None = None
    last_success_at: datetime | None = None


class Publisher(BaseModel):
    id: UUID
    name: str
    slug: str
    publisher_category: Category
    publisher_type: Literal["individual", "organization", "verified_partner"] = "individual"
    description: str | None = None
    email: str | None = None
    logo_url: str | None = None
    resource_name: str | None = None
    resource_description: str | None = None
    categories: list[str] = []
    capabilities: list[str] = []
    use_cases: list[str] = []
    usage_examples: list[UsageExample] | None = None
    wallet_address: str
    wallet_network_id: str
    accepted_assets: list[AssetInfo] | None
    pricing: list[Pricing] | None
    billing_model: Billing = "x402_per_request"
    payment_flow: PaymentFlow = "authorization"
    requires_payment_identifier: bool = False
    gateway_fee_percent: Annotated[
        str, Field(description="Of what an `x402_passthrough` API is paid, on top of it.")
    ] = "0"
    upstream_cost_response_path: str | None = None
    api_url: str | None = None
    mcp_endpoint: str | None = None
    mcp_capabilities: Json = None
    mcp_discovery: McpDiscovery | None = None
    a2a_endpoint_url: str | None = None
    a2a_agent_card: Json = None
    a2a_health_status: str | None = None
    endpoints: list[Endpoint] | None = None
    undocumented_endpoint_policy: Policy = "default_allow"
    auth_type: str
    api_key_header: str | None = None
    api_key_query_param: str | None = None
    allowed_passthrough_headers: list[str] = []
    passthrough_header_rewrite: dict[str, str] = {}
    upstream_headers: dict[str, str] = {}
    request_content_type: str = "application/json"
    token_exchange_url: str | None = None
    token_exchange_method: str | None = None
    token_exchange_mode: str | None = None
    token_response_field: str | None = None
    token_cache_ttl_seconds: int | None = None
    integration_type: Literal["api", "mcp"] | None = None
    compute_type: ComputeType | None = None
    database_type: DatabaseType | None = None
    database_name: str | None = None
    database_config: Json = None
    project_id: UUID | None = None
    branch_id: UUID | None = None
    routing: GeoRouting | None = None
    requires_user_oauth: bool = False
    oauth_provider_id: UUID | None = None
    ownership_tracking_enabled: bool = False
    resource_id_response_path: str | None = None
    resource_id_url_pattern: str | None = None
    protected_operations: Json = None
    is_active: bool
    is_verified: bool
    verification_expires_at: datetime | None = None
    warnings: Annotated[
        list[str] | None,
        Field(description="To whoever saves it: a `database_config` was sent by which calls will fail."),
    ] = None
    total_queries: Annotated[int, Field(description="Calls that were decided, paid or not.")]
    unique_agents_served: int
    total_revenue_atomic: Annotated[int, Field(description="Of all assets together, in their atomic units.")]
    created_at: datetime
    updated_at: datetime


class PricingSummary(BaseModel):
    asset_symbol: str
    price_per_call: str | None = None
    base_price_per_1000_rows: str | None = None


class McpTool(BaseModel):
    name: str
    description: str | None = None
    input_schema: Json = None


class Suggestion(BaseModel):
    slug: str
    name: str
    description: str | None
    capabilities: list[str]
    match_reason: str
    score: Annotated[float, Field(ge=0, le=1, description="1 when every word was found where it says most.")]
    pricing: PricingSummary | None
    mcp_tools: list[McpTool] | None = None


class Suggestions(BaseModel):
    publishers: list[Suggestion]
    agents: Annotated[list[Json], Field(description="Always empty: agents are not sold yet.")]

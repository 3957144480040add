"""The settings of tracing. Their variables are the standard's, which collectors' manuals tell people to set.

Source: the OpenTelemetry specification, environment variables and OTLP exporter. The SDK would look at more
of them by itself; these are the ones that are promised.
"""

from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


class OpenTelemetry(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="OTEL_", frozen=True, extra="forbid")

    sdk_disabled: bool = False
    service_name: str = "farebox"
    exporter_otlp_endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    exporter_otlp_traces_endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    exporter_otlp_headers: SecretStr | None = None
    traces_sampler: Literal[
        "always_on", "always_off", "traceidratio",
        "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
    ] = "parentbased_always_on"  # fmt: skip
    traces_sampler_arg: Annotated[float, Field(ge=0, le=1)] = 1.0

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, *args: Any, **kwargs: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        # What the file says arrives as init values; here too the environment goes before it.
        return env_settings, init_settings

    @property
    def is_on(self) -> bool:
        return self.traces_endpoint is not None and not self.sdk_disabled

    @property
    def traces_endpoint(self) -> str | None:
        if self.exporter_otlp_traces_endpoint is not None or self.exporter_otlp_endpoint is None:
            return self.exporter_otlp_traces_endpoint
        return self.exporter_otlp_endpoint.rstrip("/") + "/v1/traces"

    @property
    def headers(self) -> dict[str, str]:
        """``name=value`` pairs with commas between them, percent-encoded."""
        text = self.exporter_otlp_headers.get_secret_value() if self.exporter_otlp_headers else ""
        pairs = (one.partition("=") for one in text.split(",") if "=" in one)
        return {name.strip(): unquote(value.strip()) for name, _, value in pairs}

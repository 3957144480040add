"""The wire proxy in front of projects' databases."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, FilePath, model_validator


class PgProxy(BaseModel, frozen=True, extra="forbid"):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 6432
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    cancel_dir: Path | None = None
    domain: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,180}[a-z0-9])?$")] | None = None
    tls_cert: FilePath | None = None
    tls_key: FilePath | None = None
    plain: Literal["loopback", "always", "never"] = "loopback"
    handshake_seconds_max: Annotated[float, Field(gt=0, le=600)] = 15
    wake_seconds_max: Annotated[float, Field(gt=0, le=600)] = 60
    drain_seconds: Annotated[float, Field(ge=0, le=20)] = 1
    connections_max: Annotated[int, Field(ge=1)] = 4096
    connections_per_address_max: Annotated[int, Field(ge=1)] = 1024
    connections_per_endpoint_max: Annotated[int, Field(ge=1)] = 1024
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 20
    pool_wait_seconds_max: Annotated[float, Field(gt=0, le=600)] = 30
    pool_idle_seconds_max: Annotated[float, Field(gt=0, le=86400)] = 60

    @model_validator(mode="after")
    def is_whole(self) -> "PgProxy":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together")
        return self

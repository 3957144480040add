"""The settings of projects' databases: who runs them, and what becomes of them."""

import re
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, model_validator

ADDRESS = re.compile(r"^(?P<host>\[[0-9a-fA-F:.]+\]|[^:/\s]+):(?P<port>\d{1,5})$")

KEY_CHARACTERS_MIN = 16


class Computes(BaseModel, frozen=True, extra="forbid"):
    url: Annotated[str, Field(pattern=r"^(unix:/\S+|https?://[^/?#\s]+)$")] | None = None
    key: SecretStr | None = None
    listen: Annotated[str, Field(pattern=ADDRESS.pattern)] | None = None
    stay: bool = False
    deleted_projects_max: Annotated[int, Field(ge=1, le=1000)] = 20

    @model_validator(mode="after")
    def is_closed(self) -> "Computes":
        """Who reaches the agent is the superuser of every project's databases."""
        is_remote = self.listen is not None or (self.url or "").startswith("http")
        if is_remote and (self.key is None or len(self.key.get_secret_value()) < KEY_CHARACTERS_MIN):
            raise ValueError(f"an agent on another machine needs a key of {KEY_CHARACTERS_MIN} characters")
        return self

    @property
    def address(self) -> tuple[str, int] | None:
        found = ADDRESS.match(self.listen or "")
        return None if found is None else (found["host"].strip("[]"), int(found["port"]))

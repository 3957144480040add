"""The database, and how many connections each process has to it."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr


class Postgres(BaseModel, frozen=True, extra="forbid"):
    dsn: SecretStr | None = None
    bin_dir: Path | None = None
    pool_size: Annotated[int, Field(ge=2, le=200)] = 10

    @property
    def ledger_pool_size(self) -> int:
        """Half as many again, so that no other query keeps the money of a call waiting."""
        return max(1, self.pool_size // 2)

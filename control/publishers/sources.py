"""Where a publisher's database is: a connection string of its own, or a branch of one of its projects."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from control.postgres import passwords
from control.publishers.models import NewPublisher, PublisherChange
from gateway.kit import dsn
from gateway.kit.problem import FieldProblem, Invalid
from gateway.upstreams import branches
from gateway.upstreams.branches import Branch

CONFIG: Final = "body/database_config"
TABLE = re.compile(r"(?:[^.\x00]{1,63}\.)?[^.\x00]{1,63}")
TABLES_MAX: Final = 200
# As projects begin with it.
DATABASE: Final = "app"


def connection(config: object) -> str:
    """What is kept of a database: where it is, and who vouches for it. ``Invalid`` names what is wrong."""
    given = config if isinstance(config, dict) else {}
    found, roots = given.get("connection_string"), given.get("root_certificate")
    place = "connection_string"
    try:
        if not isinstance(found, str) or given.keys() - {"connection_string", "root_certificate"}:
            raise ValueError(
                'is required, with a root_certificate at most: {"connection_string": "postgresql://…"}'
            )
        if "\n" in found:
            raise ValueError("is one line")
        dsn.read(found)
        if roots is None:
            return found
        place = "root_certificate"
        if not isinstance(roots, str):
            raise ValueError("is text")
        return dsn.with_roots(found, roots)
    except ValueError as error:
        pointer = f"body/database_config/{place}"
        raise Invalid([FieldProblem(pointer=pointer, detail=str(error))]) from None


def of_branch(
    body: NewPublisher | PublisherChange,
    details: dict[str, Any],
    organization_id: UUID,
    publisher_id: UUID,
    before: str | None,
) -> Branch:
    """``Invalid`` names what is wrong. Whose branch it is has to be looked up.

    ``details`` are those that there will be, and ``before`` is what was kept: its password stays, because
    there are processes that have not heard of the change yet.
    """
    problems = list(table_problems(body.database_config))
    branch_id = details.get("branch_id")
    if branch_id is None:
        problems.append(FieldProblem(pointer="body/branch_id", detail="is required: whose tables are sold"))
    if problems:
        raise Invalid(problems)
    tables = tuple(one if "." in one else f"public.{one}" for one in body.database_config["tables"])
    made = Branch(
        organization_id, UUID(branch_id), details.get("database_name") or DATABASE,
        f"farebox_sells_{publisher_id.hex}_{digest(tables)}", passwords.fresh(), tables,
    )  # fmt: skip
    if before is None or not branches.is_branch(before):
        return made
    return replace(made, password=branches.read(before, organization_id).password)


def digest(tables: Sequence[str]) -> str:
    """Who sells less has another role: a process that has not heard of it grants to the old one."""
    return sha256("\n".join(tables).encode()).hexdigest()[:12]


def table_problems(config: dict[str, Any]) -> Iterator[FieldProblem]:
    if len(config) != 1:
        detail = "is a connection_string with a root_certificate, or tables of the branch"
        yield FieldProblem(pointer=CONFIG, detail=detail)
    named = config["tables"]
    if not isinstance(named, list) or not 0 < len(named) <= TABLES_MAX:
        detail = f"is a list of up to {TABLES_MAX} tables"
        yield FieldProblem(pointer=f"{CONFIG}/tables", detail=detail)
        return
    for position, one in enumerate(named):
        if not isinstance(one, str) or not TABLE.fullmatch(one):
            detail = "is a table of the branch, like items or shop.items"
            yield FieldProblem(pointer=f"{CONFIG}/tables/{position}", detail=detail)

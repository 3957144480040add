"""What is refused before the database is asked to do it, with the field that is wrong."""

from collections.abc import Sequence

from control.studio import store
from control.studio.models import Column, NewColumn, NewTable
from control.studio.session import Session
from control.studio.store import Relation
from gateway.kit.problem import FieldProblem, Invalid, NotFound, invalid


def table(new: NewTable) -> None:
    names = [column.name for column in new.columns]
    if len(set(names)) != len(names):
        raise invalid("body/columns", "two of them have the same name")
    if sum(column.primary_key for column in new.columns) != 1:
        raise invalid("body/columns", "exactly one of them is the primary key")


async def a_table(session: Session, name: str) -> Relation:
    found = await store.relation(session, name)
    if not found.is_table:
        raise invalid("path/table", "is a view, and only statements change those")
    return found


async def targets(session: Session, columns: Sequence[NewColumn], own: NewTable | None = None) -> None:
    """Columns refer to what is there, or to the table that is being made."""
    for column in columns:
        to = column.references
        if to is None:
            continue
        if own is not None and to.table == own.table_name:
            names = [one.name for one in own.columns]
        else:
            try:
                names = (await store.relation(session, to.table)).names
            except NotFound:
                raise invalid("body", f"{column.name} refers to {to.table}, which there is not") from None
        if to.column not in names:
            raise invalid("body", f"{column.name} refers to a column that {to.table} has not")


def column_of(there: Relation, name: str) -> Column:
    found = next((column for column in there.columns if column.name == name), None)
    if found is None:
        raise NotFound(f"{there.name} has no column {name}")
    return found


def known(there: Relation, names: Sequence[str], pointer: str = "body/columns") -> None:
    unknown = [name for name in names if name not in there.names]
    if unknown:
        raise Invalid(
            [FieldProblem(pointer=pointer, detail=f"there is no column {name}") for name in unknown]
        )
    if len(set(names)) != len(names):
        raise invalid(pointer, "one of them comes twice")


def order_of(there: Relation, by: str | None, direction: str) -> list[tuple[str, str]]:
    """Pages need an order that is the same for each of them."""
    if by is not None and by not in there.names:
        raise invalid("query/orderBy", f"there is no column {by}")
    last = [(name, "ASC") for name in there.key if name != by]
    return last if by is None else [(by, direction.upper()), *last]

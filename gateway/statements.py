"""Whether a text is one statement that only reads, and how many rows it asks for at most.

This spares a database what it would refuse, and keeps callers away from what is not the publisher's data: the
catalog, other sessions, functions that run text. What holds without it is in ``upstreams/postgres.py``. Only
what is asked for is looked at: the statement itself goes to the database as it came.
"""

import logging
import re
from typing import Final

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import SqlglotError
from sqlglot.parsers.postgres import PostgresParser

# What it says of statements that it cannot read is about somebody's data.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)

WRITES: Final = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Lock, exp.Command, exp.DDL)
# Who and where the database is, which its connection string says too.
IDENTITY: Final = (
    exp.CurrentUser,
    exp.SessionUser,
    exp.CurrentCatalog,
    exp.CurrentVersion,
    exp.CurrentSchema,
)
# Settings, sessions, locks, files, large objects, other servers, text that is run, names that are looked up.
FUNCTIONS: Final = re.compile(
    r"pg_(?!typeof$).*|lo_.*|dblink.*|(query|table|schema|database|cursor)_to_.*|set_config|current_setting|"
    r"current_database|current_schemas|inet_.*|ts_stat|ts_rewrite|crosstab.*|connectby|xpath_table|txid_.*|"
    r"has_.*_privilege|row_security_active|nextval|setval|currval|lastval|to_reg.*|.*_description|"
    r"binary_upgrade_.*|http.*|version",
)
SCHEMAS: Final = ("pg_catalog", "information_schema", "pg_toast")

STEPS_MIN, STEPS_PER_TOKEN_MAX = 2000, 8


# Of them there is one row, unless they are grouped. Those of others' making may be anything.
TOTALS: Final = (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max)


class Unfit(ValueError):
    """Why a statement is not run. The text is public."""


class Bounded(PostgresParser):
    """It tries some things twice, and what is inside of them twice each time: eighteen arrays in one another
    kept it busy for a minute. Ordinary statements take it one or two steps for each of their tokens.
    """

    steps_left: int

    def _advance(self, times: int = 1) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise Unfit("is nested too deeply")
        super()._advance(times)


def parsed(statement: str) -> list[exp.Expr | None]:
    dialect = Postgres()
    tokens = dialect.tokenize(statement)
    parser = Bounded(dialect=dialect)
    parser.steps_left = STEPS_MIN + STEPS_PER_TOKEN_MAX * len(tokens)
    return parser.parse(tokens, statement)


def rows_asked(statement: str) -> int | None:
    """How many it can return, where that can be told; ``Unfit`` unless it is one that reads."""
    try:
        found = parsed(statement)
    except SqlglotError:
        raise Unfit("is not a statement that can be read; mind its syntax") from None
    except RecursionError:
        raise Unfit("is nested too deeply") from None
    if len(found) != 1 or found[0] is None:
        raise Unfit("is not exactly one statement")
    root = found[0]
    if not isinstance(root, exp.Query | exp.Values) or root.find(*WRITES) is not None:
        raise Unfit("is no statement that only reads: one SELECT, WITH or VALUES is run")
    for node in root.walk():
        refuse_foreign(node)
    return limit_of(root)


def refuse_foreign(node: exp.Expr) -> None:
    if isinstance(node, exp.Table):
        if node.name.lower().startswith("pg_") or node.db.lower() in SCHEMAS:
            raise Unfit("reads the database's catalog")
    elif isinstance(node, IDENTITY) or (isinstance(node, exp.Column) and is_role(node)):
        raise Unfit("asks who or where the database is")
    elif isinstance(node, exp.Func):
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
        if FUNCTIONS.fullmatch(name.lower()):
            raise Unfit(f"calls {name.lower()}, which is not run for callers")
    elif isinstance(node, exp.DataType) and type_name(node).startswith("reg"):
        raise Unfit("looks a name up in the database's catalog")


def type_name(node: exp.DataType) -> str:
    """Without its schema, and without the types in it, which come by themselves."""
    kind = node.args.get("kind")
    name = kind.sql("postgres") if isinstance(kind, exp.Expr) else str(kind or node.this)
    return name.replace('"', "").rpartition(".")[2].lower()


def is_role(column: exp.Column) -> bool:
    """Some names are values when they stand alone."""
    identifier = column.this
    is_quoted = isinstance(identifier, exp.Identifier) and bool(identifier.args.get("quoted"))
    alone = ("user", "current_role", "session_user", "current_user", "system_user", "current_catalog")
    return not is_quoted and not column.table and column.name.lower() in alone


def limit_of(root: exp.Expr) -> int | None:
    limit = root.args.get("limit")
    count = limit.expression if isinstance(limit, exp.Limit) else None
    is_number = isinstance(count, exp.Literal) and not count.is_string and count.name.isdecimal()
    if is_number and count is not None and len(count.name) < 10:
        return int(count.name)
    return 1 if is_total(root) else None


def is_total(root: exp.Expr) -> bool:
    """Whoever counts a table does not pay for as many rows as may be returned of it."""
    if not isinstance(root, exp.Select) or root.args.get("group") is not None:
        return False
    found = [one.unalias() for one in root.expressions]
    return bool(found) and all(isinstance(one, TOTALS) for one in found)

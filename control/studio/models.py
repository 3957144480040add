from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from control.api.v1 import Camel, CamelBody
from control.api.wording import shaped
from control.studio import rules

Name = Annotated[
    str,
    shaped(
        r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        "a letter or an underscore, and up to 62 letters, digits and underscores",
    ),
]
TableName = Annotated[Name, AfterValidator(rules.not_reserved)]
Default = Annotated[
    str,
    Field(max_length=200, description="An SQL expression, as `now()` or `'new'`."),
    AfterValidator(rules.expression),
]
Type = Literal["text", "integer", "bigint", "boolean", "timestamptz", "jsonb", "uuid", "numeric"]
OnDelete = Literal["cascade", "restrict", "setNull", "noAction"]


class Reference(CamelBody):
    table: TableName
    column: Name
    on_delete: OnDelete = "noAction"


class NewColumn(CamelBody):
    name: Name
    type: Type
    not_null: bool = False
    primary_key: bool = False
    default_expr: Default | None = None
    references: Reference | None = None


class NewTable(CamelBody):
    table_name: TableName
    columns: Annotated[list[NewColumn], Field(min_length=1, max_length=200)]


class RenamedTable(CamelBody):
    new_name: TableName


class Truncation(CamelBody):
    cascade: Annotated[bool, Field(description="Empty the tables that refer to it as well.")] = False


class AddedColumn(CamelBody):
    column: NewColumn


class ChangedColumn(CamelBody):
    """`newName` renames, and nothing else is done then. A `defaultExpr` of null takes the default away."""

    new_name: Name | None = None
    not_null: bool | None = None
    default_expr: Default | None = None


class NewIndex(CamelBody):
    columns: Annotated[list[str], Field(min_length=1, max_length=32)]
    unique: bool = False
    name: Annotated[
        TableName | None, Field(description="Made of the table's and the columns' if not set.")
    ] = None


class Key(CamelBody):
    column: str
    value: Any


class RowKey(CamelBody):
    """The row's primary key: `primaryKey` with all its columns, or the other two where it has only one."""

    primary_key: Annotated[list[Key] | None, Field(min_length=1, max_length=32)] = None
    primary_key_column: str | None = None
    primary_key_value: Any = None

    @property
    def parts(self) -> Mapping[str, Any]:
        if self.primary_key is not None:
            return {one.column: one.value for one in self.primary_key}
        return {} if self.primary_key_column is None else {self.primary_key_column: self.primary_key_value}


class ChangedCell(RowKey):
    column: str
    value: Annotated[Any, Field(description="Null is a value here, too.")]


class NewRow(CamelBody):
    values: Annotated[dict[str, Any], Field(min_length=1)]


class Statement(CamelBody):
    sql: Annotated[str, Field(min_length=1, max_length=16_384)]


class Target(Camel):
    table: str
    column: str
    on_delete: OnDelete


class Column(Camel):
    name: str
    data_type: Annotated[str, Field(description="As information_schema names it.")]
    type: Annotated[str, Field(description="As it is written in SQL, with its length.")]
    nullable: bool
    default_expr: str | None
    ordinal_position: int
    is_primary_key: bool
    references: Target | None
    is_generated: bool
    is_identity: bool


class Table(Camel):
    name: str
    approx_row_count: int
    bytes: Annotated[int, Field(description="With its indexes.")]


class Tables(Camel):
    tables: list[Table]


class Columns(Camel):
    columns: list[Column]


class Index(Camel):
    name: str
    columns: Annotated[list[str], Field(description="Names, or expressions.")]
    unique: bool
    is_primary: bool


class Indexes(Camel):
    indexes: list[Index]


class Edge(Camel):
    from_table: str
    from_column: str
    to_table: str
    to_column: str


class Edges(Camel):
    edges: list[Edge]


class TableColumns(Camel):
    name: str
    columns: list[Column]


class Schema(Camel):
    tables: list[TableColumns]
    relationships: list[Edge]


class Rows(Camel):
    columns: list[Column]
    rows: list[dict[str, Any]]
    limit: int
    offset: int
    has_more: bool


class Inserted(Camel):
    inserted: dict[str, Any]


class Affected(Camel):
    affected: Annotated[int, Field(description="0 where there is no such row.")]


class ResultColumn(Camel):
    name: str
    data_type: str


class QueryResult(Camel):
    columns: list[ResultColumn]
    rows: list[dict[str, Any]]
    row_count: Annotated[int, Field(description="Of `rows`, or how many were changed.")]
    command: Annotated[str, Field(description="The last one's, as `SELECT`.")]
    elapsed_ms: int
    truncated: Annotated[bool, Field(description="Whether there are more rows.")]


class Made(Camel):
    name: str


class Renamed(Camel):
    renamed: str


class Truncated(Camel):
    truncated: str


class Dropped(Camel):
    dropped: str


class Added(Camel):
    added: str


class Altered(Camel):
    altered: str

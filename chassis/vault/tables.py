"""The table that the vault has in every schema that keeps secrets; `chassis.migrations.ddl.create_data_keys` makes it."""

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text, Uuid

from chassis.columns import moment, organization_id

data_keys = Table(
    "data_keys",
    MetaData(),
    organization_id(),
    Column("id", Uuid, nullable=False),
    Column("version", Integer, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("wrapping_key", Text, nullable=False),
    moment("created_at"),
)

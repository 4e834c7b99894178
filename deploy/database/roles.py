"""The roles of the database, as `roles.toml` lists them."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

EVERY = "every"


@dataclass(frozen=True, slots=True)
class Role:
    """A role that processes or migrations log in as, and the schema it works in."""

    name: str
    schema: str

    @property
    def owns(self) -> bool:
        """Whether the schema is its own."""
        return self.name == f"{self.schema}_owner"


@dataclass(frozen=True, slots=True)
class AcrossGrant:
    """What a role may do with a table's rows of all organizations; no columns means all of them."""

    role: str
    schema: str
    table: str
    privileges: frozenset[str]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoleList:
    """The whole list."""

    schemas: tuple[str, ...]
    roles: tuple[Role, ...]
    platform_tables: frozenset[tuple[str, str]]
    added_to: frozenset[tuple[str, str]]
    across: tuple[AcrossGrant, ...]


@cache
def role_list() -> RoleList:
    """Read the list."""
    listed = tomllib.loads(files(__package__).joinpath("roles.toml").read_text())
    schemas = tuple(listed["schemas"])
    roles = [Role(f"{schema}_{kind}", schema) for schema in schemas for kind in listed["roles"]]
    roles += [Role(name, schema) for name, schema in listed["further_roles"].items()]
    platform_tables = {
        (schema, table)
        for table, entry in listed["platform_tables"].items()
        for schema in (schemas if entry["schema"] == EVERY else (entry["schema"],))
    }
    added_to = {
        (schema, table)
        for place, tables in listed["added_to"].items()
        for schema in (schemas if place == EVERY else (place,))
        for table in tables
    }
    across = [
        AcrossGrant(
            role,
            role.partition("_")[0],
            entry["table"],
            frozenset(entry["privileges"]),
            tuple(entry.get("columns", ())),
        )
        for entry in listed["across"]
        for role in _spelled_out(entry["role"], schemas)
    ]
    return RoleList(schemas, tuple(roles), frozenset(platform_tables), frozenset(added_to), tuple(across))


def _spelled_out(role: str, schemas: tuple[str, ...]) -> list[str]:
    schema, _, kind = role.partition("_")
    return [f"{each}_{kind}" for each in schemas] if schema == EVERY else [role]

"""The tenancy rules of the architecture, read off a live catalog: each rule is a query that finds what breaks it."""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from deploy.database.roles import RoleList

# As PostgreSQL prints the one expression that a tenant's policy may have.
TENANT_EXPRESSION = (
    "(organization_id = ( SELECT (NULLIF(current_setting('app.organization_id'::text, true), ''::text))::uuid"
)

_TENANT_TABLES = """
    SELECT n.nspname AS schema, c.relname AS name, c.oid, c.relrowsecurity, c.relforcerowsecurity
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY(%(schemas)s) AND c.relname <> 'alembic_version'
      AND (n.nspname || '.' || c.relname) <> ALL(%(platform)s)
"""

# The one policy beside it, which narrows what may be deleted of a table that is only added to: ADR 0060.
_ERASED = """
    p.policyname = 'erased' AND p.permissive = 'RESTRICTIVE' AND p.cmd = 'DELETE'
      AND p.roles = ARRAY[p.schemaname || '_app']::name[]
      AND regexp_replace(p.qual, '[[:space:]]+', ' ', 'g') = '(EXISTS ( SELECT FROM ' || p.schemaname || '.erasures))'
"""


@dataclass(frozen=True)
class Rule:
    """A rule and what breaks it in the catalog."""

    name: str
    broken_by: str


RULES = (
    Rule(
        "a tenant table has organization_id uuid NOT NULL",
        f"""
        SELECT t.schema || '.' || t.name FROM ({_TENANT_TABLES}) t WHERE NOT EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attname = 'organization_id'
              AND a.atttypid = 'uuid'::regtype AND a.attnotnull AND NOT a.attisdropped)
        """,
    ),
    Rule(
        "a tenant table has a primary key",
        f"""
        SELECT t.schema || '.' || t.name FROM ({_TENANT_TABLES}) t
        WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary)
        """,
    ),
    Rule(
        "primary and unique keys begin with the organization",
        f"""
        SELECT t.schema || '.' || i.indexrelid::regclass::text FROM ({_TENANT_TABLES}) t
        JOIN pg_index i ON i.indrelid = t.oid AND i.indisunique
        LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
        WHERE a.attname IS DISTINCT FROM 'organization_id'
        """,
    ),
    Rule(
        "foreign keys begin with the organization on both sides",
        f"""
        SELECT t.schema || '.' || t.name || ' ' || k.conname FROM ({_TENANT_TABLES}) t
        JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f'
        LEFT JOIN pg_attribute here ON here.attrelid = k.conrelid AND here.attnum = k.conkey[1]
        LEFT JOIN pg_attribute there ON there.attrelid = k.confrelid AND there.attnum = k.confkey[1]
        WHERE here.attname IS DISTINCT FROM 'organization_id'
           OR there.attname IS DISTINCT FROM 'organization_id'
        """,
    ),
    Rule(
        "row-level security is enabled and forced",
        f"""
        SELECT t.schema || '.' || t.name FROM ({_TENANT_TABLES}) t
        WHERE NOT (t.relrowsecurity AND t.relforcerowsecurity)
        """,
    ),
    Rule(
        "the app role has one policy, on everything, for its organization alone",
        f"""
        SELECT t.schema || '.' || t.name FROM ({_TENANT_TABLES}) t WHERE 1 <> (
            SELECT count(*) FROM pg_policies p
            WHERE p.schemaname = t.schema AND p.tablename = t.name
              AND (p.schemaname || '_app' = ANY(p.roles) OR 'public' = ANY(p.roles))
              AND p.cmd = 'ALL' AND p.permissive = 'PERMISSIVE' AND p.roles = ARRAY[p.schemaname || '_app']::name[]
              AND starts_with(p.qual, %(expression)s) AND p.with_check = p.qual
        ) OR 1 <> (
            SELECT count(*) FROM pg_policies p WHERE p.schemaname = t.schema AND p.tablename = t.name
              AND (p.schemaname || '_app' = ANY(p.roles) OR 'public' = ANY(p.roles)) AND NOT ({_ERASED}))
        """,
    ),
    Rule(
        # What stays of an organization that is erased, and why: ADR 0060.
        "an organization's rows can be erased",
        f"""
        SELECT t.schema || '.' || t.name FROM ({_TENANT_TABLES}) t
        WHERE NOT has_table_privilege(t.schema || '_app', t.oid, 'DELETE')
          AND t.name NOT IN ('erasures', 'standstills') AND (t.schema || '.' || t.name) <> 'identity.audit_events'
        """,
    ),
    Rule(
        "a listed table is only added to, and so is no other",
        f"""
        SELECT coalesce(listed.name, p.schemaname || '.' || p.tablename)
        FROM unnest(%(added_to)s::text[]) AS listed (name)
        FULL JOIN (SELECT * FROM pg_policies p WHERE p.schemaname = ANY(%(schemas)s) AND {_ERASED}) AS p
          ON listed.name = p.schemaname || '.' || p.tablename
        WHERE listed.name IS NULL OR p.tablename IS NULL
        """,
    ),
    Rule(
        "a policy across organizations is for a listed role",
        f"""
        SELECT p.schemaname || '.' || p.tablename || ' ' || p.policyname
        FROM ({_TENANT_TABLES}) t JOIN pg_policies p ON p.schemaname = t.schema AND p.tablename = t.name
        CROSS JOIN unnest(p.roles) AS role
        WHERE role <> t.schema || '_app' AND (role || ' ' || p.tablename) <> ALL(%(across)s)
        """,
    ),
    Rule(
        "nobody but the owner may truncate, refer to, or put triggers on a table",
        """
        SELECT acl.grantee::regrole::text || ' ' || c.oid::regclass::text || ' ' || acl.privilege_type
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN aclexplode(c.relacl) acl
        WHERE n.nspname = ANY(%(schemas)s) AND acl.grantee <> c.relowner
          AND acl.privilege_type IN ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
        """,
    ),
    Rule(
        "nothing is granted to everybody",
        """
        SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN aclexplode(c.relacl) acl WHERE n.nspname = ANY(%(schemas)s) AND acl.grantee = 0
        """,
    ),
    Rule(
        "tables belong to their schema's owner",
        """
        SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm')
          AND c.relowner::regrole::text <> n.nspname || '_owner'
        """,
    ),
    Rule(
        "a view runs as who asks, and there is no materialized view",
        """
        SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY(%(schemas)s) AND (c.relkind = 'm' OR (
            c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY(c.reloptions), false)))
        """,
    ),
    Rule(
        "no function runs as its owner",
        """
        SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = ANY(%(schemas)s) AND p.prosecdef
        """,
    ),
    Rule(
        "no role of the platform reaches past row-level security",
        """
        SELECT r.rolname FROM pg_roles r WHERE r.rolname = ANY(%(roles)s)
          AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
               OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid))
        """,
    ),
)

# Privileges of everybody but owners, and of the app roles on platform tables alone: (role, table, privilege, column).
_GRANTS_ACROSS = """
    SELECT acl.grantee::regrole::text, n.nspname, c.relname, acl.privilege_type, acl.column_name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT grantee, privilege_type, '*' AS column_name FROM aclexplode(c.relacl)
        UNION ALL
        SELECT x.grantee, x.privilege_type, a.attname::text
        FROM pg_attribute a CROSS JOIN aclexplode(a.attacl) x WHERE a.attrelid = c.oid
    ) acl
    WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v') AND acl.grantee <> c.relowner
      AND (acl.grantee::regrole::text <> n.nspname || '_app'
           OR (n.nspname || '.' || c.relname) = ANY(%(platform)s))
"""


def broken_rules(connection: psycopg.Connection, roles: RoleList) -> list[str]:
    """What breaks a rule, each as the rule and its breaker; empty when the catalog is as it must be."""
    listed = _parameters(roles)
    broken = [
        f"{rule.name}: {row[0]}"
        for rule in RULES
        for row in connection.execute(rule.broken_by, listed).fetchall()
    ]
    return broken + _grants_that_differ(connection, roles)


def tenant_policies(connection: psycopg.Connection, roles: RoleList) -> list[tuple[str, str, str]]:
    """Every policy that binds the app role on a tenant table: its schema, its table, its name."""
    return connection.execute(
        f"""
        SELECT p.schemaname, p.tablename, p.policyname FROM ({_TENANT_TABLES}) t
        JOIN pg_policies p ON p.schemaname = t.schema AND p.tablename = t.name
        WHERE p.policyname IN ('tenant', 'erased') ORDER BY 1, 2, 3
        """,
        _parameters(roles),
    ).fetchall()


def _grants_that_differ(connection: psycopg.Connection, roles: RoleList) -> list[str]:
    found = set(connection.execute(_GRANTS_ACROSS, _parameters(roles)).fetchall())
    listed = {
        (grant.role, grant.schema, grant.table, privilege, column)
        for grant in roles.across
        for privilege in grant.privileges
        for column in (grant.columns if grant.columns and privilege != "DELETE" else ("*",))
    }
    say: Callable[[tuple[str, ...]], str] = " ".join
    return [f"granted and not listed: {say(grant)}" for grant in sorted(found - listed)] + [
        f"listed and not granted: {say(grant)}" for grant in sorted(listed - found)
    ]


def _parameters(roles: RoleList) -> dict[str, object]:
    return {
        "schemas": list(roles.schemas),
        "platform": [f"{schema}.{table}" for schema, table in roles.platform_tables],
        "added_to": [f"{schema}.{table}" for schema, table in roles.added_to],
        "across": [f"{grant.role} {grant.table}" for grant in roles.across],
        "roles": [role.name for role in roles.roles],
        "expression": TENANT_EXPRESSION,
    }

"""The page at /docs: the OpenAPI document for people to read. Self-contained, without scripts."""

from html import escape
from pathlib import Path
from typing import Any

Json = dict[str, Any]
# Name, place, schema, whether it is required, what to say of it.
Row = tuple[str, str, Json, bool, str]

_DEEPEST = 3
_STYLE = Path(__file__).with_name("documentation.css").read_text()


def html_page(document: Json) -> str:
    """The whole page."""
    operations = [
        (verb, path, operation)
        for path, verbs in (document["paths"] | document["webhooks"]).items()
        for verb, operation in verbs.items()
    ]
    tags = [
        (tag, [each for each in operations if tag["name"] in each[2]["tags"]]) for tag in document["tags"]
    ]
    named = document["components"]["schemas"]
    info = document["info"]
    server = escape(document["servers"][0]["url"])
    sections = "".join(_section(tag, members, named) for tag, members in tags)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<nav><h1>{escape(info['title'])}</h1>{''.join(_menu(tag, members) for tag, members in tags)}</nav>"
        f"<main><header><h1>{escape(info['title'])} API</h1><p>{escape(info['description'])}</p>"
        f"<p>Base address <code>{server}</code> · credentials go in <code>Authorization: Bearer …</code> · "
        '<a href="/openapi.json">openapi.json</a></p></header>'
        f"{sections}</main></body></html>"
    )


def _menu(tag: Json, operations: list[tuple[str, str, Json]]) -> str:
    links = "".join(
        f'<li><a href="#{operation["operationId"]}">{escape(operation["summary"])}</a></li>'
        for _, _, operation in operations
    )
    return f"<h2>{escape(tag['name'])}</h2><ul>{links}</ul>"


def _section(tag: Json, operations: list[tuple[str, str, Json]], named: Json) -> str:
    articles = "".join(_article(verb, path, operation, named) for verb, path, operation in operations)
    return f"<section><h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>{articles}</section>"


def _article(verb: str, path: str, operation: Json, named: Json) -> str:
    lines = "".join(f"<p>{_code(line)}</p>" for line in operation["description"].split("  \n"))
    rows: list[Row] = [
        (each["name"], each["in"], each["schema"], each.get("required", False), each.get("description", ""))
        for each in operation["parameters"]
    ]
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        place = "form" if media_type.startswith("multipart") else "body"
        rows += _rows(content.get("schema", {}), place, named)
    return (
        f'<article id="{operation["operationId"]}"><h3>{escape(operation["summary"])}</h3>'
        f'<p class="line"><b class="{verb}">{verb.upper()}</b> <code>{escape(path)}</code></p>'
        f"{lines}{_fields(rows, named)}{_answers(operation['responses'], named)}</article>"
    )


def _rows(schema: Json, place: str, named: Json, prefix: str = "") -> list[Row]:
    """The fields of an object, each object among them followed by its own."""
    members = _resolved(schema, named)
    rows: list[Row] = []
    for name, field in members.get("properties", {}).items():
        rows.append((prefix + name, place, field, name in members.get("required", []), ""))
        inner = field["anyOf"][0] if "anyOf" in field else field
        if "$ref" in inner and prefix.count(".") < _DEEPEST:
            rows += _rows(inner, place, named, f"{prefix}{name}.")
    return rows


def _fields(rows: list[Row], named: Json) -> str:
    if not rows:
        return ""
    body = "".join(
        f"<tr><td><code>{escape(name)}</code>{' <em>required</em>' if required else ''}</td><td>{place}</td>"
        f"<td>{_type(schema, named)}</td><td>{_code(schema.get('description', note))}</td></tr>"
        for name, place, schema, required, note in rows
    )
    return f"<table><tr><th>Field</th><th>In</th><th>Type</th><th></th></tr>{body}</table>"


def _answers(responses: Json, named: Json) -> str:
    lines = []
    for status, response in responses.items():
        content: Json = next(iter(response.get("content", {}).values()), {})
        schema = _resolved(content.get("schema", {}), named)
        members = schema.get("properties", {}) if status.startswith("2") else {}
        fields = "".join(
            f"<li><code>{escape(name)}</code> {_type(field, named)} {_code(field.get('description', ''))}</li>"
            for name, field in members.items()
        )
        details = f"<ul>{fields}</ul>" if fields else ""
        lines.append(f"<li><b>{status}</b> {escape(response['description'])}{details}</li>")
    return f"<details><summary>Answers</summary><ul>{''.join(lines)}</ul></details>"


def _type(schema: Json, named: Json) -> str:
    """A schema in a few words."""
    if "anyOf" in schema:
        return f"{_type(schema['anyOf'][0], named)} or null"
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        members = ", ".join(named[name].get("properties", {}))
        return f'<abbr title="{escape(members)}">{escape(name)}</abbr>'
    if schema.get("type") == "array":
        most = f" (at most {schema['maxItems']:,})" if "maxItems" in schema else ""
        return f"list of {_type(schema['items'], named)}{most}"
    kinds = schema.get("type", "any")
    words = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if "enum" in schema:
        words = " · ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"] if value)
    if "format" in schema:
        words += f", {escape(schema['format'])}"
    if "maxLength" in schema:
        words += f", at most {schema['maxLength']:,} characters"
    return words


def _resolved(schema: Json, named: Json) -> Json:
    reference = schema.get("$ref")
    resolved: Json = named[reference.rsplit("/", 1)[1]] if reference else schema
    return resolved


def _code(text: str) -> str:
    """Escaped text in which `words` are shown as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))

"""An organization that is given, uses, mislays and loses every kind of secret that there is.

A kind of secret is a method of `Story`: whoever adds one writes a method that uses it through the public API, learns what
is secret (`ledger.learn`), and names it in `KINDS`. What is known is looked for in everything that was written.
"""

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID, uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import make_url
from starlette.responses import JSONResponse

from chassis.context import RequestContext
from chassis.database import Database
from chassis.derived_key import derive
from chassis.secret import Secret, SecretBytes
from chassis.vault.sealed_columns import SealedColumn
from chassis.vault.vault import Vault
from deploy.demo.client import Client, Json
from deploy.demo.waiting import until
from services.integrations.ai.tests.model_server import Asks, Fails, ModelServer, Says
from services.integrations.crm.tests.servers.grants import CLIENT_SECRET, code_of
from services.integrations.tables import authorizations
from services.integrations.tests.local_crm import KEY, LocalCrm
from services.sending.tables import dkim_keys
from tests.integration.house import House
from tests.integration.ledger import Ledger, Written
from tests.integration.mail_scene import web_addresses
from tests.integration.sealed_envelopes import ENVELOPES, data_key, stored_envelopes
from tests.integration.sealed_values import LISTED, stored_keys, stored_values, wrapping_of
from tests.integration.tenants import SCOPES, authorization

KINDS = (
    "the house's own",
    "passwords",
    "sessions",
    "links in mail",
    "second factors",
    "API keys",
    "webhook endpoints",
    "sending domains",
    "relays",
    "CRM connections",
    "AI",
)
# Of the language model's API; in lower case, as the model's server keeps it.
AI_KEY = f"sk-{uuid4().hex}"
_PATIENCE_SECONDS = 30
# More than the story lasts: each is followed by a pause of at least 30 seconds.
_FAILURES = 20
_ACCOUNT_LINK = re.compile(r"/account/[a-z-]+/([\w-]{43})")
# The last 20 characters of a signed link are its MAC and nothing that is known otherwise.
_MAC_CHARACTERS = 20


@dataclass
class Receiver:
    """A receiver of webhooks that answers with all that it was sent, and with what it knows; and fails or not."""

    url: str
    posts: list[bytes] = field(default_factory=list)
    connections: list[asyncio.StreamWriter] = field(default_factory=list)
    knows: list[str] = field(default_factory=list)
    status: int = 500

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a connection's posts."""
        self.connections.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                assert length is not None
                post = head + await reader.readexactly(int(length[1]))
                self.posts.append(post)
                body = "\n".join(self.knows).encode() + b"\n" + post
                writer.write(
                    b"HTTP/1.1 %d So\r\nContent-Length: %d\r\n\r\n" % (self.status, len(body)) + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def echoing() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver("")
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    async with server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks"
        yield receiver
        for connection in receiver.connections:
            connection.close()
            await connection.wait_closed()


def a_password() -> str:
    """One that every form of writing writes differently, and nobody has twice."""
    return f'slow "{uuid4().hex}" & <green>\\tram+%2F'


@dataclass
class Story:
    """Who lives it, and what nobody may read."""

    house: House
    http: httpx.AsyncClient
    mailbox: httpx.AsyncClient
    receiver: Receiver
    ledger: Ledger
    crms: Mapping[str, LocalCrm]
    model: ModelServer
    heard: list[Written]
    # What is no secret and is written in most places, to show that it would be found there.
    first_name: str = field(default_factory=lambda: uuid4().hex)
    trace_id: str = field(default_factory=lambda: uuid4().hex)
    letter_trace_id: str = field(default_factory=lambda: uuid4().hex)
    organization_id: str = ""
    failed_request_id: str = ""
    email: str = field(default_factory=lambda: f"owner.{uuid4().hex}@example.test")
    password: str = field(default_factory=a_password)
    access_token: str = ""
    key: str = ""

    async def live(self) -> None:
        """All of it."""
        self._own_of_the_house()
        await self._sign_up()
        await self._sessions()
        await self._links_in_mail()
        await self._second_factor()
        await self._api_keys()
        await self._webhook_endpoints()
        await self._crm_connections()
        await self._language_model()
        await self._sending_domain()
        await self._data_keys()
        await self._links_of_contacts()
        await self._keys_in_envelopes()
        await self._mislaid()
        await self._without_a_database()
        # Late: nothing that is mailed after it arrives.
        await self._relay()
        await self._client(self.access_token).get("/v1/audit-events")
        await self._client(self.access_token).post("/v1/auth/logout")

    def _client(self, credential: str = "") -> Client:
        return Client(self.http, credential)

    def _own_of_the_house(self) -> None:
        """What its processes know it by, each other, and what they seal with."""

        def learn(name: str, value: Any) -> None:
            if isinstance(value, dict):
                for each, inner in value.items():
                    learn(f"{name} {each}", inner)
            else:
                self.ledger.learn(name, value)

        for name in self.house.secrets.__slots__:
            learn(f"the house's own {name}", getattr(self.house.secrets, name))

    async def _sign_up(self) -> None:
        self.ledger.learn("passwords: the first", self.password)
        body = {
            "email": self.email,
            "password": self.password,
            "name": "Olive",
            "organization_name": "Grocer",
        }
        signed_up = await self._client().post("/v1/auth/signup", body)
        self.organization_id = signed_up["organization"]["id"]
        self._learn_session("after sign-up", signed_up)
        await self._client(self.access_token).post("/v1/contacts", self._contact())
        headers = authorization(self.access_token) | self._traced
        await self.http.put("/v1/organization/subscription", headers=headers, json={"plan": "pro"})

    @property
    def _traced(self) -> dict[str, str]:
        return {"traceparent": f"00-{self.trace_id}-{'1' * 16}-01"}

    def _contact(self) -> Json:
        return {"email": f"{uuid4().hex}@example.test", "first_name": self.first_name}

    def _learn_session(self, when: str, signed_in: Json) -> None:
        self.access_token = signed_in["access_token"]
        # Of a JWT what stands before the signature is known to many.
        self.ledger.learn_from_answer(f"sessions: access token {when}", self.access_token.rpartition(".")[2])
        refresh = signed_in["refresh_token"].removeprefix("fnr_")
        self.ledger.learn_from_answer(f"sessions: refresh token {when}", refresh)
        self._refresh_token = signed_in["refresh_token"]

    async def _sessions(self) -> None:
        """Passwords that are right, wrong, changed and in the wrong field; tokens that are used twice."""
        wrong, after = a_password(), a_password()
        self.ledger.learn("passwords: a wrong one", wrong)
        self.ledger.learn("passwords: the second", after)
        self._learn_session("after log-in", await self._logged_in())
        for body in (
            {"email": self.email, "password": wrong},
            {"email": self.password, "password": self.password},
            {"password": self.password, "user": self.email},
        ):
            assert (await self.http.post("/v1/auth/login", json=body)).status_code in (401, 422)
        before = self._refresh_token
        refreshed = await self._client().post("/v1/auth/refresh", {"refresh_token": before})
        self._learn_session("after refresh", refreshed)
        short = {"current_password": self.password, "password": after[:8]}
        assert (await self._refused("/v1/auth/password/change", short)).status_code == 422
        change = {"current_password": self.password, "password": after}
        await self._client(self.access_token).post("/v1/auth/password/change", change)
        self.password = after
        self._learn_session("after change", await self._logged_in())

    async def _logged_in(self, **more: str) -> Json:
        body = {"email": self.email, "password": self.password, **more}
        return await self._client().post("/v1/auth/login", body)

    async def _refused(self, path: str, body: Json) -> httpx.Response:
        return await self.http.post(path, headers=authorization(self.access_token), json=body)

    async def _links_in_mail(self) -> None:
        """An address that is proved, a password that is forgotten, a person who is invited: each link used, and used again."""
        proof = await self._account_link(self.email, "Please confirm your e-mail address")
        for _ in range(2):
            await self.http.get(proof)
            await self.http.post(proof)
        await self.http.post("/v1/auth/email/verify", json={"token": proof.rpartition("/")[2]})
        await self._client().post("/v1/auth/password/forgot", {"email": self.email})
        reset, password = await self._account_link(self.email, "Set a new password"), a_password()
        self.ledger.learn("passwords: after reset", password)
        for said in ("password1234", password, password):
            await self.http.post(reset, data={"password": said})
        self.password = password
        self._learn_session("after reset", await self._logged_in())
        friend, password = f"friend.{uuid4().hex}@example.test", a_password()
        self.ledger.learn("passwords: a friend's", password)
        await self._client(self.access_token).post(
            "/v1/team/invitations", {"email": friend, "role": "MEMBER"}
        )
        token = (await self._account_link(friend, "You are invited to Grocer")).rpartition("/")[2]
        body = {"token": token, "name": "Ana", "password": password}
        joined = await self._client().post("/v1/auth/invitations/accept", body)
        mine = self.access_token, self._refresh_token
        self._learn_session("of a friend", joined)
        self._friend = self._client(joined["access_token"]), password
        self.access_token, self._refresh_token = mine

    async def _account_link(self, to: str, subject: str) -> str:
        """The path of the link in a mail about an account, whose token is secret."""
        raw = await self._mail(to, subject)
        found = _ACCOUNT_LINK.search(raw)
        assert found is not None
        self.ledger.learn(f"links in mail: {subject}", found[1], shown_in=("mail",))
        return found[0]

    async def _mail(self, to: str, subject: str) -> str:
        async def arrived() -> list[Json]:
            found = await self.mailbox.get("/api/messages", params={"to": to, "subject": subject})
            messages: list[Json] = found.raise_for_status().json()["messages"]
            return messages

        messages = await until(arrived, bool, seconds=_PATIENCE_SECONDS)
        assert messages, f"no mail about {subject!r}"
        raw = (await self.mailbox.get(f"/api/messages/{messages[0]['id']}/raw")).text
        # Quoted-printable breaks lines, and writes what it means to break as =3D.
        return raw.replace("=\r\n", "").replace("=3D", "=")

    async def _second_factor(self) -> None:
        me = self._client(self.access_token)
        seed = await self._enrolled("that is used", me, self.password)
        code = TOTP(seed, 6, SHA1(), 30).generate(int(time.time())).decode()
        await self._refused("/v1/auth/totp/verify", {"code": base64.b32encode(seed).decode()})
        codes = (await me.post("/v1/auth/totp/verify", {"code": code}))["recovery_codes"]
        for number, recovery_code in enumerate(codes):
            self.ledger.learn_from_answer(f"second factors: recovery code {number}", recovery_code)
        wrong = {"email": self.email, "password": self.password, "code": codes[0][::-1]}
        assert (await self.http.post("/v1/auth/login", json=wrong)).status_code in (401, 422)
        self._learn_session("with a recovery code", await self._logged_in(code=codes[0]))
        disable = {"password": self.password, "code": codes[1]}
        await self._client(self.access_token).post("/v1/auth/totp/disable", disable)
        # Begun only, so that log-ins go on without: these stay where they are stored.
        await self._enrolled("that stays", me, self.password)
        await self._enrolled("of a friend", *self._friend)

    async def _enrolled(self, known_as: str, client: Client, password: str) -> bytes:
        enrolled = await client.post("/v1/auth/totp/enrol", {"password": password})
        self.ledger.learn_from_answer(f"second factors: seed {known_as}", enrolled["secret"])
        seed = base64.b32decode(enrolled["secret"] + "=" * (-len(enrolled["secret"]) % 8))
        self.ledger.learn(f"second factors: bytes of the seed {known_as}", seed)
        return seed

    async def _api_keys(self) -> None:
        """A key, one derived from it, one that is revoked; and one whose creation is asked for twice."""
        owner = self._client(self.access_token)
        self.key = (await owner.post("/v1/api-keys", {"name": "all", "scopes": sorted(SCOPES)}))["secret"]
        # What stands before it names the key.
        self.ledger.learn_from_answer("API keys: the first", self.key[-49:])
        derived = derive(self.key, scopes=["contacts:read"])
        self.ledger.learn("API keys: a derived one", derived[-49:])
        for credential in (self.key, derived):
            await self._client(credential).get("/v1/contacts")
            changed = credential[:-1] + ("0" if credential[-1] != "0" else "1")
            for refused in (changed, credential[:-7], credential.upper()):
                answer = await self.http.get("/v1/contacts", headers=authorization(refused))
                assert answer.status_code == 401
        headers = authorization(self.access_token) | {"Idempotency-Key": str(uuid4())}
        body = {"name": "lost", "scopes": ["contacts:read"]}
        first, again = [await self.http.post("/v1/api-keys", headers=headers, json=body) for _ in range(2)]
        assert first.content == again.content
        lost = first.json()
        # The answer got lost, so it is given once more.
        twice = self.ledger.answers[-2].where
        self.ledger.learn_from_answer("API keys: a revoked one", lost["secret"][-49:], shown_in=(twice,))
        await owner.delete(f"/v1/api-keys/{lost['api_key']['id']}")
        answer = await self.http.get("/v1/contacts", headers=authorization(lost["secret"]))
        assert answer.status_code == 401
        await owner.get("/v1/api-keys")

    async def _webhook_endpoints(self) -> None:
        """Endpoints that answer with everything they are sent and know: their headers' credentials, and what they verify with."""
        owner = self._client(self.access_token)
        credentials = {"X-Api-Key": uuid4().hex, "Authorization": f"Bearer {uuid4().hex}"}
        for name, value in credentials.items():
            secret = value.removeprefix("Bearer ")
            self.ledger.learn(f"webhook endpoints: header {name}", secret, shown_in=("webhook post",))
        made = await owner.post(
            "/v1/webhook-endpoints",
            {"url": self.receiver.url, "event_types": ["contact.*"], "headers": credentials},
        )
        self._learn_endpoint_secret("the first secret", made["secret"])
        await self._client(self.key).post("/v1/contacts", self._contact())
        await self._attempted(made["id"])
        path = f"/v1/webhook-endpoints/{made['id']}"
        rotated = await owner.post(f"{path}/rotate-secret")
        self._learn_endpoint_secret("the second secret", rotated["secret"])
        self.receiver.status = 200
        await owner.post(f"{path}/test", {"event_type": "contact.created"})
        await self._attempted(made["id"], deliveries=2)
        await owner.patch(path, {"headers": credentials, "description": "Again"})
        token = uuid4().hex
        # An address is shown to members, in lists and notices; it is nobody else's business all the same.
        shown = ("answer", "database", "bus", "webhook post")
        self.ledger.learn("webhook endpoints: token in the URL", token, shown_in=shown)
        with_token = {"url": f"{self.receiver.url}?token={token}", "event_types": ["contact.created"]}
        asked = await owner.post("/v1/webhook-endpoints", with_token)
        await self._client(self.key).post("/v1/contacts", self._contact())
        await self._attempted(asked["id"])
        user = a_password()
        self.ledger.learn("webhook endpoints: password in the URL", user)
        with_password = {"url": f"https://me:{quote(user)}@example.com/", "event_types": ["*"]}
        assert (await self._refused("/v1/webhook-endpoints", with_password)).status_code == 422
        for each in (made, asked):
            await owner.get(f"/v1/webhook-endpoints/{each['id']}")
            await owner.delete(f"/v1/webhook-endpoints/{each['id']}")
        await self._endpoint_that_stays()

    async def _endpoint_that_stays(self) -> None:
        """In the middle of a rotation, so that all that is sealed of endpoints stands in the database."""
        owner, credential = self._client(self.access_token), uuid4().hex
        self.ledger.learn("webhook endpoints: header X-Stays", credential)
        endpoint = {
            "url": self.receiver.url,
            "event_types": ["contact.deleted"],
            "headers": {"X-Stays": credential},
        }
        stays = await owner.post("/v1/webhook-endpoints", endpoint)
        self._learn_endpoint_secret("a secret that is replaced", stays["secret"])
        rotated = await owner.post(f"/v1/webhook-endpoints/{stays['id']}/rotate-secret")
        self._learn_endpoint_secret("a secret that replaces", rotated["secret"])

    def _learn_endpoint_secret(self, name: str, secret: str) -> None:
        self.ledger.learn_from_answer(f"webhook endpoints: {name}", secret.removeprefix("whsec_"))
        self.receiver.knows.append(f"it verifies with {secret}")

    async def _attempted(self, endpoint_id: str, deliveries: int = 1) -> None:
        """Read the attempts of an endpoint, with the answers that it gave, once there are so many."""
        member = self._client(self.key)
        path = f"/v1/webhook-endpoints/{endpoint_id}/deliveries"

        async def attempted() -> list[Json]:
            listed = await member.every(path, "deliveries")
            return [delivery for delivery in listed if delivery["attempt_count"]]

        found = await until(attempted, lambda seen: len(seen) >= deliveries, seconds=_PATIENCE_SECONDS)
        assert len(found) >= deliveries
        for delivery in found:
            told = await member.get(f"/v1/webhook-deliveries/{delivery['id']}")
            assert "it verifies with ***" in str(told["attempts"]), told

    async def _crm_connections(self) -> None:
        """Each CRM by agreeing there, one by a key of the account's own, one that is taken back, and one that nobody comes back to."""
        headers = authorization(self.access_token)
        self.ledger.learn("CRM connections: the operator's app", CLIENT_SECRET)
        for name in self.crms:
            await self._connect(name, name)
        wrong = uuid4().hex
        for which, key in (("wrong", wrong), ("good", KEY)):
            self.ledger.learn(f"CRM connections: a {which} key", key)
            body = {"provider": "hubspot", "api_key": key}
            await self.http.post("/v1/integrations/connections", headers=headers, json=body)
        listed = (await self.http.get("/v1/integrations/connections", headers=headers)).json()["connections"]
        assert {each["method"] for each in listed} == {"oauth", "api_key"}
        await self._take_back("salesforce")
        grants = self.crms["salesforce"].grants

        async def at_the_crm() -> list[str]:
            return list(grants.revoked)

        assert await until(at_the_crm, bool, seconds=_PATIENCE_SECONDS)
        await self._connect("salesforce", "salesforce again")
        grants.failures_of_revoking += [JSONResponse({}, 503)] * _FAILURES
        await self._take_back("salesforce")
        await self._begin("hubspot", "nobody's")

    async def _connect(self, name: str, known_as: str) -> None:
        """By agreeing there."""
        crm = self.crms[name]
        back = await crm.agree(await self._begin(name, known_as))
        code, _ = code_of(back)
        self.ledger.learn(f"CRM connections: {known_as} code", code)
        parts = urlsplit(back)
        page = await self.http.get(f"{parts.path}?{parts.query}")
        assert "Connected" in page.text
        # Once more, as a browser that goes back and forth.
        await self.http.get(f"{parts.path}?{parts.query}")
        for kind, tokens in (
            ("access", crm.grants.access_tokens),
            ("refresh", crm.grants.refresh_tokens),
        ):
            (token,) = tokens
            self.ledger.learn(f"CRM connections: {known_as} {kind} token", token)

    async def _begin(self, name: str, known_as: str) -> str:
        """Begin to agree: answers where that is done. The verifier, which leaves the platform for the CRM alone, is opened as its process does."""
        headers = authorization(self.access_token)
        begun = await self.http.post(f"/v1/integrations/{name}/authorize", headers=headers, json={})
        url = str(begun.json()["authorization_url"])
        (state,) = parse_qs(urlsplit(url).query)["state"]
        self.ledger.learn_from_answer(f"CRM connections: {known_as} state", state[-_MAC_CHARACTERS:])
        ((_, verifier),) = await self._opened("integrations", SealedColumn(authorizations, "sealed_verifier"))
        self.ledger.learn(f"CRM connections: {known_as} verifier", verifier.reveal())
        return url

    async def _take_back(self, name: str) -> None:
        headers = authorization(self.access_token)
        listed = (await self.http.get("/v1/integrations/connections", headers=headers)).json()["connections"]
        (connection_id,) = (each["id"] for each in listed if each["provider"] == name)
        answer = await self.http.delete(f"/v1/integrations/connections/{connection_id}", headers=headers)
        assert answer.status_code == 204

    async def _language_model(self) -> None:
        """The key of the operator's, which a provider repeats where it refuses it; and what members ask, which is nobody's business."""
        self.ledger.learn("AI: the operator's key", AI_KEY)
        headers = authorization(self.access_token)
        question, brief, looked_for = (uuid4().hex for _ in range(3))
        self.ledger.learn("AI: a question", question)
        self.ledger.learn("AI: a brief", brief)
        self.ledger.learn("AI: what a tool is asked", looked_for)
        told = uuid4().hex
        self.model.does(
            Fails(401, f"Incorrect API key provided: {AI_KEY}, for {question}"),
            Fails(400, f"Not that: {brief}"),
            Asks(("list_contacts", {"search": looked_for}), (looked_for, {looked_for: looked_for})),
            Says(told),
        )
        asked = {"question": question, "history": [{"question": brief, "answer": question}]}
        for path, body, status in (
            ("/v1/ai/copilot", asked, 503),
            ("/v1/ai/write", {"goal": brief, "brand_notes": question}, 503),
            ("/v1/ai/copilot", asked, 200),
        ):
            answer = await self.http.post(path, headers=headers, json=body)
            assert answer.status_code == status, answer.text
        self.ledger.learn_from_answer("AI: an answer", told)
        assert set(self.model.credentials) == {f"bearer {AI_KEY}"}

    async def _sending_domain(self) -> None:
        """The keys that sign its mail and the platform's, which nobody outside ever sees: opened as the delivery process does."""
        domain = f"{uuid4().hex}.example.com"
        made = await self._client(self.access_token).post("/v1/domains", {"name": domain})
        await self._client(self.access_token).post(f"/v1/domains/{made['id']}/verify")
        keys = await self._opened("sending", SealedColumn(dkim_keys, "sealed_key"))
        assert len(keys) > 2
        for key_id, private in keys:
            self._learn_private_key(f"sending domains: key {key_id}", private.reveal())

    async def _opened(self, schema: str, column: SealedColumn) -> list[tuple[UUID, SecretBytes]]:
        """What stands in a sealed column, by its row."""
        values = await stored_values(self.house, schema, column)
        found = []
        async with self.vault(schema) as (database, vault):
            for place, sealed in values.items():
                context = RequestContext.of_process("thief", place.organization)
                async with database.tenant_transaction(context, read_only=True) as session:
                    keyring = await vault.keyring(session)
                plain = keyring.open_bytes(sealed, table=place.table, row=place.row, column=place.column)
                found.append((place.row, plain))
        return found

    @asynccontextmanager
    async def vault(self, schema: str) -> AsyncIterator[tuple[Database, Vault]]:
        """That of a schema's processes, which knows also what no part of the house tells."""
        secrets, role = self.house.secrets, f"{schema}_app"
        password = secrets.database_roles[role]
        url = make_url(self.house.facts["database_url"]).set(username=role, password=password)
        async with Database(Secret(url.render_as_string(hide_password=False)), schema=schema) as database:
            yield database, Vault(schema, wrapping_of(self.house, schema))

    async def _data_keys(self) -> None:
        """What the house seals with, of each organization that has something to seal."""
        for schema in LISTED:
            stored = await stored_keys(self.house, schema)
            assert stored
            for key in stored:
                plain = await key.unwrapped(wrapping_of(self.house, schema))
                self.ledger.learn(f"the house's own data key {key.id} of {schema}", plain)

    async def _keys_in_envelopes(self) -> None:
        """What identity, contacts and suppression seal with where no organization has a key for it."""
        for column in ENVELOPES:
            stored = await stored_envelopes(self.house, column)
            keys = {await data_key(self.house, column, sealed) for sealed in stored.values()}
            for number, key in enumerate(keys):
                self.ledger.learn(f"the house's own data key {number} of {column}", key)

    def _learn_private_key(self, name: str, der: bytes) -> None:
        self.ledger.learn(f"{name}, DER", der)
        key = load_der_private_key(der, None)
        if isinstance(key, RSAPrivateKey):
            numbers = key.private_numbers()
            for part, number in {"d": numbers.d, "p": numbers.p, "q": numbers.q}.items():
                self.ledger.learn(f"{name}, {part}", number.to_bytes(-(-number.bit_length() // 8), "big"))
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            # The modulus, which is public, stands in the first half.
            self.ledger.learn(f"{name}, PEM", pem.split(b"\n")[-6])
        else:
            self.ledger.learn(f"{name}, seed", key.private_bytes_raw())  # type: ignore[union-attr]

    async def _links_of_contacts(self) -> None:
        """The links by which people come onto a list and leave it."""
        key, reader = self._client(self.key), f"reader.{uuid4().hex}@example.test"
        friends = (await key.post("/v1/lists", {"name": "Friends"}))["id"]
        await key.post("/v1/contacts", {"email": reader, "list_ids": [friends]})
        content = {"name": "Plums", "subject": "Plums", "from_email": "news@grocer.test", "text": "Ripe."}
        campaign = await key.post("/v1/campaigns", content | {"audience": {"list_ids": [friends]}})
        await key.post(f"/v1/campaigns/{campaign['id']}/launch")
        links = web_addresses(await self._mail(reader, "Plums"))
        for kind in ("/u/", "/p/"):
            path = next(urlsplit(link).path for link in links if kind in link)
            self.ledger.learn(
                f"links in mail: {kind}",
                path[-_MAC_CHARACTERS:],
                shown_in=("mail", f"answer {len(self.ledger.answers)} "),
            )
            await self.http.get(path)
        form = {
            "name": "Blog",
            "consent_text": "Yes",
            "from_email": "news@grocer.test",
            "list_ids": [friends],
        }
        form_id = (await key.post("/v1/forms", form))["id"]
        await self.http.post(f"/f/{form_id}", data={"email": f"Form.{reader}", "consent": "yes"})
        confirming = await self._mail(f"Form.{reader}", "Please confirm: Blog")
        path = next(urlsplit(link).path for link in web_addresses(confirming) if "/f/confirm/" in link)
        self.ledger.learn("links in mail: confirmation", path[-_MAC_CHARACTERS:], shown_in=("mail",))
        for _ in range(2):
            assert "You are subscribed" in (await self.http.post(path)).text
        # What fills in everything is a program, of which is logged where it was.
        await self.http.post(
            f"/f/{form_id}", headers=self._traced, data={"your-website": "https://spam.test"}
        )
        letter = {"to": reader, "from_email": "a@grocer.test", "subject": "Receipt", "text": "Thank you."}
        headers = authorization(self.key) | {"traceparent": f"00-{self.letter_trace_id}-{'1' * 16}-01"}
        (await self.http.post("/v1/messages", headers=headers, json=letter)).raise_for_status()
        await self._mail(reader, "Receipt")
        preferences = next(urlsplit(link).path for link in links if "/p/" in link)
        one_click = next(urlsplit(link).path for link in links if "/u/" in link)
        await self.http.post(one_click, data={"List-Unsubscribe": "One-Click"})
        await self.http.post(preferences, data={"choice": "subscribe"})
        returning = await self._mail(reader, "Please confirm: mail from news@grocer.test")
        path = next(urlsplit(link).path for link in web_addresses(returning) if "/p/" in link)
        self.ledger.learn("links in mail: return", path[-_MAC_CHARACTERS:], shown_in=("mail",))
        await self.http.post(path)

    async def _mislaid(self) -> None:
        """Credentials where none belong: in addresses, other headers, bodies, and as what they are not. Each is refused."""
        for secret in (
            self.key,
            self.access_token,
            self._refresh_token,
            self.password,
            "whsec_" + self._known("webhook endpoints: the second secret"),
        ):
            await self._mislay(secret)

    async def _mislay(self, secret: str) -> None:
        right, in_path = authorization(self.key), quote(secret, safe="")
        basic = base64.b64encode(f"{secret}:".encode()).decode()
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", f"/v1/contacts?api_key={in_path}", {}),
            ("GET", f"/v1/contacts?page_token={in_path}", {"headers": right}),
            ("GET", f"/v1/contacts?email={in_path}&page_size=x", {"headers": right}),
            ("GET", f"/v1/contacts/{in_path}", {"headers": right}),
            ("GET", f"/{in_path}", {}),
            *(("GET", f"/{page}/{in_path}", {}) for page in ("u", "p", "t/c", "f", "f/confirm")),
            ("POST", f"/account/verify-email/{in_path}", {}),
            ("GET", "/v1/contacts", {"headers": {"X-Api-Key": secret}}),
            ("GET", "/v1/contacts", {"headers": {"Authorization": f"Basic {basic}"}}),
            ("GET", "/v1/contacts", {"headers": {"Authorization": f"Bearer {secret}x"}}),
            ("GET", "/v1/contacts", {"headers": {"Cookie": f"session={in_path}"}}),
            ("POST", "/v1/contacts", {"headers": right, "json": {"email": secret}}),
            ("POST", "/v1/contacts", {"headers": right, "json": {"email": "a@example.test", "tags": {"a": secret}}}),
            ("POST", "/v1/contacts", {"headers": right, "content": secret}),
            ("POST", "/v1/webhook-endpoints", {"headers": right, "json": {"url": f"https://x/{secret}", "event_types": [secret]}}),
            ("POST", "/v1/auth/refresh", {"json": {"refresh_token": f"{secret}x"}}),
            ("POST", "/v1/auth/password/reset", {"json": {"token": secret, "password": secret}}),
            ("POST", "/v1/auth/login", {"json": {"email": f"{uuid4().hex}@example.test", "password": secret}}),
        ]  # fmt: skip
        for method, path, content in requests:
            answer = await self.http.request(method, path, **content)
            # A page for people says in words that a link is not valid.
            assert answer.is_client_error or "not valid" in answer.text, (method, path, answer.status_code)

    async def _without_a_database(self) -> None:
        """Everything secret that a request can hold, while what would be done with it fails, and is logged as a failure."""
        right, mine = authorization(self.key), authorization(self.access_token)
        proof = {"email": self.email, "password": self.password}
        endpoint = {
            "url": self.receiver.url,
            "event_types": ["*"],
            "headers": {"Authorization": f"Bearer {self._known('webhook endpoints: header Authorization')}"},
        }
        requests: list[tuple[str, dict[str, str], Json]] = [
            ("/v1/auth/login", {}, proof),
            ("/v1/auth/signup", {}, {**proof, "name": "Olive", "organization_name": "Grocer"}),
            ("/v1/auth/refresh", {}, {"refresh_token": self._refresh_token}),
            ("/v1/auth/email/verify", {}, {"token": self._known("links in mail: Set a new password")}),
            ("/v1/auth/totp/enrol", mine, {"password": self.password}),
            ("/v1/api-keys", mine, {"name": "x", "scopes": ["contacts:read"]}),
            ("/v1/contacts", right, self._contact()),
            ("/v1/webhook-endpoints", right, endpoint),
            ("/v1/integrations/connections", mine, {"provider": "hubspot", "api_key": KEY}),
            ("/v1/integrations/salesforce/authorize", mine, {}),
            ("/v1/ai/copilot", mine, {"question": self._known("AI: a question")}),
        ]
        with self.house.without("postgres"):
            answers = await asyncio.gather(
                *(self.http.post(path, headers=headers, json=body) for path, headers, body in requests)
            )
        assert {answer.status_code for answer in answers} <= {500, 503}
        self.failed_request_id = answers[0].headers["x-request-id"]

        async def whole() -> bool:
            return await asyncio.to_thread(self.house.is_whole)

        assert await until(whole, bool, seconds=2 * _PATIENCE_SECONDS)

    def _known(self, name: str) -> str:
        return self.ledger.secrets[name].decode()

    async def _relay(self) -> None:
        """A relay of the organization's own, with a password, which takes nothing."""
        operator = self.house.facts["super_admin"]
        signed_in = await self._client().post("/v1/auth/login", operator)
        token = signed_in["access_token"]
        self.ledger.learn_from_answer("sessions: an operator's access token", token.rpartition(".")[2])
        refresh = signed_in["refresh_token"].removeprefix("fnr_")
        self.ledger.learn_from_answer("sessions: an operator's refresh token", refresh)
        password, called = uuid4().hex, asyncio.Event()
        self.ledger.learn("relays: password", password)

        async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            called.set()
            writer.write(b"554 5.3.2 Not now\r\n")
            writer.close()

        pools = f"/v1/admin/organizations/{self.organization_id}/ip-pools"
        relay = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with relay:
            address = f"grocer:{password}@127.0.0.1:{relay.sockets[0].getsockname()[1]}"
            for scheme, status in (("smtp", 201), ("smtpx", 422)):
                pool = {
                    "name": "Ours",
                    "addresses": [{"relay_url": f"{scheme}://{address}", "warm": True}],
                }
                answer = await self.http.post(pools, headers=authorization(token), json=pool)
                assert answer.status_code == status, answer.text
            letter = {"to": "a@example.test", "from_email": "a@grocer.test", "subject": "Hi", "text": "Hi."}
            await self._client(self.key).post("/v1/messages", letter)
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await called.wait()
        await self._client(token).get(pools)

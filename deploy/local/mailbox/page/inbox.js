// The inbox: a list that grows by itself, a search, and one message in several views. The address names the message
// (#<id>), so that it can be linked to.
"use strict";

const at = (id) => document.getElementById(id);
const REFRESH_EVERY = 4000;
let shown = [];
let next = "";
let chosen = null;

async function ask(path) {
  const answer = await fetch(path);
  return answer.ok ? answer.json() : null;
}

function listPath(token = "") {
  const query = new URLSearchParams({ view: "basic", limit: "50", text: at("text").value.trim() });
  if (token) query.set("page_token", token);
  return `/api/messages?${query}`;
}

async function refresh() {
  const [page, all] = await Promise.all([
    ask(listPath()),
    ask(`/api/count?${new URLSearchParams({ text: at("text").value.trim() })}`),
  ]);
  if (!page || !all) return;
  at("count").textContent = all.count === 1 ? "1 message" : `${all.count.toLocaleString()} messages`;
  if (page.messages[0]?.id === shown[0]?.id && shown.length) return;
  shown = page.messages;
  next = page.next_page_token;
  showList();
}

async function older() {
  const page = await ask(listPath(next));
  if (!page) return;
  shown = shown.concat(page.messages);
  next = page.next_page_token;
  showList();
}

function showList() {
  at("messages").replaceChildren(...shown.map(entry));
  at("nothing").hidden = shown.length > 0;
  at("more").hidden = !next;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function entry(message) {
  const moment = new Date(message.received_at);
  const today = moment.toDateString() === new Date().toDateString();
  const button = element(
    "button",
    { type: "button", onclick: () => (location.hash = message.id) },
    element("span", { className: "to", textContent: message.envelope.to.join(", ") }),
    element("time", {
      dateTime: message.received_at,
      textContent: today ? moment.toLocaleTimeString() : moment.toLocaleDateString(),
    }),
    element("span", { className: "subject", textContent: message.subject || "(no subject)" }),
  );
  if (message.id === chosen) button.setAttribute("aria-current", "true");
  return element("li", {}, button);
}

async function open() {
  chosen = /^#(\d+)$/.exec(location.hash)?.[1] ?? null;
  showList();
  const message = chosen && (await ask(`/api/messages/${chosen}`));
  at("message").hidden = !message;
  at("hint").hidden = Boolean(message);
  if (message) showMessage(message);
}

function header(message, name) {
  const found = Object.keys(message.headers).find((key) => key.toLowerCase() === name);
  return found ? message.headers[found].join(", ") : "";
}

function showMessage(message) {
  at("subject").textContent = message.subject || "(no subject)";
  at("from").textContent = header(message, "from") || message.envelope.from || "<>";
  at("to").textContent = message.envelope.to.join(", ");
  at("received").textContent = new Date(message.received_at).toLocaleString();
  showUnsubscribe(message);
  const html = message.parts.find((part) => part.content_type === "text/html");
  const text = message.parts.find((part) => part.content_type === "text/plain");
  const views = {
    ...(html && { Message: () => mailFrame(message) }),
    ...(text && { Text: () => element("pre", { textContent: text.content }) }),
    Headers: () => headerTable(message),
    Raw: () => element("pre", { textContent: message.raw }),
  };
  const tabs = Object.entries(views).map(([name, make]) => tab(name, make));
  at("tabs").replaceChildren(...tabs);
  tabs[0].click();
}

function showUnsubscribe(message) {
  const target = /<(https?:[^>]+)>/i.exec(header(message, "list-unsubscribe"))?.[1];
  const oneClick = /^List-Unsubscribe=One-Click$/i.test(header(message, "list-unsubscribe-post"));
  at("unsubscribe").hidden = !target;
  at("one-click").hidden = !oneClick;
  if (!target) return;
  at("unsubscribe-link").href = target;
  at("one-click").action = target;
}

function mailFrame(message) {
  const frame = element("iframe", { title: "The message", src: `/api/messages/${message.id}/html` });
  frame.setAttribute("sandbox", "allow-popups allow-popups-to-escape-sandbox");
  return frame;
}

function headerTable(message) {
  const rows = Object.entries(message.headers).flatMap(([name, values]) =>
    values.map((value) =>
      element("tr", {}, element("th", { scope: "row", textContent: name }), element("td", { textContent: value })),
    ),
  );
  return element("table", {}, element("tbody", {}, ...rows));
}

function tab(name, make) {
  const made = element("button", { type: "button", textContent: name, id: `tab-${name.toLowerCase()}` });
  made.setAttribute("role", "tab");
  made.setAttribute("aria-controls", "view");
  made.onclick = () => {
    for (const other of at("tabs").children) {
      other.setAttribute("aria-selected", String(other === made));
      other.tabIndex = other === made ? 0 : -1;
    }
    at("view").setAttribute("aria-labelledby", made.id);
    at("view").replaceChildren(make());
  };
  return made;
}

at("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const tabs = [...at("tabs").children];
  if (!step || !tabs.length) return;
  const to = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  to.focus();
  to.click();
});
at("search").addEventListener("submit", (event) => event.preventDefault());
let typing;
at("text").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { shown = []; refresh(); }, 200);
});
at("more").addEventListener("click", older);
addEventListener("hashchange", open);
setInterval(() => { if (!document.hidden && shown.length <= 50) refresh(); }, REFRESH_EVERY);
refresh().then(open);

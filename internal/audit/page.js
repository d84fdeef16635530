const many = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const compare = (a, b) => a.localeCompare(b, "en", {numeric: true});
const said = {true: "ready", false: "not ready", unknown: "unknown"}, signs = {true: "", false: "✕", unknown: "?"};
const verdicts = ["false", "unknown", "true"];
const nameOf = o => (o.namespace ? o.namespace + "/" : "") + o.name;
function button(text, cls, does, label) {
  const b = make("button", text, cls);
  if (label) b.ariaLabel = label;
  b.addEventListener("click", does);
  return b;
}

// What is found of each node.
const findings = [["", r.findings], ["accepted", r.accepted || []], ["known", r.known || []]];
const found = new Map();
for (const [state, all] of findings) {
  for (const f of all) {
    f.state = state;
    for (const n of f.object.kind === "Node" ? f.members || [f.object.name] : []) found.set(n, [...found.get(n) || [], f]);
  }
}

const agentsSeen = !r.unseen.some(u => u.source === "pods" || u.source === "agents");
const cause = n => n.reason + (n.reason && n.message ? ": " : "") + n.message;
const columns = [
  ["node", "Node", n => n.name], ["pool", "Pool", n => n.pool], ["ready", "Ready", n => n.ready], ["on-boot", "On boot", n => n.onBoot],
  ["module", "Module", n => n.module], ["reason", "Reason", cause], ["since", "Since", n => n.since || ""],
  ["agent", "Agent", n => n.agent ? n.agent.version + (n.agent.ready ? "" : " (not ready)") : agentsSeen ? "none" : "?"]];
const rows = r.nodes.map((n, at) => {
  const cells = columns.map(c => c[2](n));
  return {n, at, cells, text: cells.join(" ").toLowerCase(), found: found.get(n.name) || []};
});

// A filter is words that a row contains, and KEY=VALUE for a whole cell or label.
const keys = new Map(columns.map((c, i) => [c[0], row => row.cells[i]]));
for (const l of r.labels) if (!/[\s="]/.test(l.key) && !keys.has(l.key)) keys.set(l.key, row => l.values[l.of[row.at]]);
const term = (key, value) => key + "=" + (/^[^\s"\\]+$/.test(value) ? value : JSON.stringify(value));
function parse(text) {
  return Array.from(text.matchAll(/([^\s="]+)=("(?:[^"\\]|\\.)*"|[^\s"]+)|\S+/g), ([word, key, value]) => {
    if (keys.has(key)) {
      try {
        value = (value[0] === '"' ? JSON.parse(value) : value).toLowerCase();
        // As a name in a text, not as part of a longer one.
        return {key, value, name: new RegExp("(?<![\\w.-])" + value.replace(/\W/g, "\\$&") + "(?![\\w-]|\\.\\w)")};
      } catch { /* a word */ }
    }
    return {word: word.toLowerCase()};
  });
}
const hasRow = (row, filter) => filter.every(w => w.key ? keys.get(w.key)(row).toLowerCase() === w.value : row.text.includes(w.word));
function hasFinding(f, filter) {
  f.text ??= [f.kind, f.state, r.titles[f.kind], f.object.kind, nameOf(f.object), f.pool, f.message, ...f.evidence, f.fix, ...f.members || []].join("\n").toLowerCase();
  return filter.every(w => !w.key ? f.text.includes(w.word) : w.key === "node" ? w.name.test(f.text) : w.key !== "pool" || !f.pool || f.pool.toLowerCase() === w.value);
}

// The filter stands in the address, to be sent to somebody: page.html#worker%20false
const filter = byId("filter"), address = text => "#" + encodeURIComponent(text);
function narrow(text) {
  filter.value = text;
  history.replaceState(null, "", address(text));
  show();
}
function fromAddress() {
  filter.value = location.hash.slice(1);
  try { filter.value = decodeURIComponent(filter.value); } catch { /* typed by hand: #50% */ }
  show();
}

// A long list ends with a button for the rest of it.
const most = 200;
function fill(into, items, build, around = b => b) {
  into.replaceChildren(...items.slice(0, most).map(build));
  if (items.length > most) {
    const more = around(button(`Show all ${items.length.toLocaleString("en")}`, "more", () => more.replaceWith(...items.slice(most).map(build))));
    into.append(more);
  }
}

// The picture: a tile for each node, by group.
const by = byId("by"), tip = byId("tip"), groups = byId("groups");
for (const key of new Set(["pool", "topology.kubernetes.io/zone", ...r.labels.map(l => l.key)])) {
  if (keys.has(key)) by.append(new Option(key));
}
groups.className = rows.length <= 60 ? "named" : rows.length > 1000 ? "small" : "";
function tile(row) {
  const n = row.n, open = row.found.some(f => !f.state), set = row.found.length > 0;
  const sign = signs[n.ready] || (open ? "!" : ""), known = row.found.map(f => (f.state && f.state + ": ") + r.titles[f.kind]);
  row.tile = button(rows.length <= 60 ? `${sign} ${n.name}` : sign, `tile ${n.ready}${open ? " has" : set ? " set" : ""}`, () => narrow(term("node", n.name)),
    [`${n.name}: ${said[n.ready]}`, n.ready === "true" ? "" : cause(n), ...known].filter(Boolean).join("\n"));
  row.tile.tabIndex = -1; // Tab leads to the first tile, the arrow keys from there to the others
  return row.tile;
}
function draw() {
  const of = keys.get(by.value);
  groups.replaceChildren(...[...Map.groupBy(rows, of)].sort((a, z) => compare(a[0], z[0])).map(([value, list]) => {
    const group = make("section", undefined, "group"), head = make("div", undefined, "head"), strip = make("div", undefined, "strip"), tiles = make("div", undefined, "tiles");
    const here = term(by.value, value), name = value || "(none)", sums = [];
    for (const v of verdicts) {
      const n = list.filter(row => row.n.ready === v).length;
      if (n === 0) continue;
      sums.push(`${n.toLocaleString("en")} ${said[v]}`);
      const b = button("", v, () => narrow(`${here} ready=${v}`), `${name}: ${many(n, "node")} ${said[v]}`);
      b.title = b.ariaLabel;
      b.style.flexGrow = n;
      strip.append(b);
    }
    head.append(button(name, "text", () => narrow(here)), strip, make("span", sums.join(" · "), "dim"));
    tiles.role = group.role = "group";
    tiles.ariaLabel = `nodes of ${name}`;
    const causes = [...Map.groupBy(list.filter(row => row.n.ready !== "true"), row => cause(row.n) || "no report")].sort((a, z) => z[1].length - a[1].length);
    tiles.append(...causes.flatMap(c => c[1]).map(tile), ...list.filter(row => row.n.ready === "true").map(tile));
    const ul = make("ul", undefined, "causes");
    fill(ul, causes, ([text, list]) => {
      const li = make("li");
      li.append(button(`${many(list.length, "node")}: ${text}`, "text", () => narrow(`${here} reason=${JSON.stringify(cause(list[0].n))}`)));
      return li;
    });
    group.append(head, tiles, ul);
    return group;
  }));
  const first = groups.querySelector(".tile");
  if (first) first.tabIndex = 0;
}
function explain(at) {
  tip.hidden = !at;
  if (!at) return;
  tip.textContent = at.ariaLabel;
  const box = at.getBoundingClientRect(), below = box.bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.left = Math.max(4, Math.min(box.left, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = (below ? box.bottom + 6 : box.top - 6 - tip.offsetHeight) + "px";
}
for (const [event, shows] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
  groups.addEventListener(event, e => explain(shows ? e.target.closest(".tile") : null));
}
groups.addEventListener("keydown", e => {
  const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1}[e.key], at = e.target.closest(".tile");
  if (!step || !at) return;
  e.preventDefault();
  const tiles = [...groups.querySelectorAll(".tile")], column = e.key === "ArrowDown" || e.key === "ArrowUp";
  for (let i = tiles.indexOf(at) + step; tiles[i]; i += step) {
    if (column && (tiles[i].offsetLeft !== at.offsetLeft)) continue;
    at.tabIndex = -1;
    tiles[i].tabIndex = 0;
    tiles[i].focus();
    return;
  }
});

// Findings, by kind.
const opened = new Map();
const nodeLink = (name, cls) => Object.assign(make("a", name, cls), {href: address(term("node", name))});
function describe(f) {
  const item = make("div", undefined, "item"), title = make("strong"), ofNodes = f.object.kind === "Node", members = f.members || [];
  if (f.state) item.append(make("span", f.state, "mark"));
  title.append(ofNodes && !members.length ? nodeLink(f.object.name) : nameOf(f.object) + (ofNodes ? ` and ${members.length - 1} more` : ""));
  item.append(title, ": " + f.message, list(f.evidence), make("p", "→ " + f.fix));
  if (f.why) item.append(make("p", `${f.state}: ${f.why}`));
  if (members.length) {
    const d = make("details"), names = make("div");
    d.append(make("summary", many(members.length, ofNodes ? "node" : "pod")), names);
    fill(names, members, name => ofNodes ? nodeLink(name, "member") : make("code", name, "member"));
    item.append(d);
  }
  return item;
}
function showFindings(narrowed) {
  let shown = 0;
  const out = findings.flatMap(([state, all]) => [...Map.groupBy(all.filter(f => hasFinding(f, narrowed)), f => f.kind)].map(([kind, group]) => {
    const d = make("details"), head = make("summary"), items = make("div");
    shown += group.length;
    d.dataset.kind = kind;
    if (state) head.append(make("span", state, "mark"));
    head.append(make("span", group[0].severity, group[0].severity), ` ${r.titles[kind]} (${group.length.toLocaleString("en")})`);
    d.append(head, items);
    const open = () => { if (d.open && !items.firstChild) fill(items, group, describe); };
    d.open = opened.get(state + kind) ?? (!state && group.length <= 5);
    open();
    d.addEventListener("toggle", open);
    head.addEventListener("click", () => opened.set(state + kind, !d.open));
    return d;
  }));
  byId("findings").replaceChildren(...out);
  if (r.findings.length === 0) byId("findings").prepend(make("p", "Nothing found.", "good"));
  return shown;
}
// On paper there is nothing to open.
addEventListener("beforeprint", () => document.querySelectorAll("#findings > details").forEach(d => { d.open = true; d.dispatchEvent(new Event("toggle")); }));

// The table.
const colours = {true: "good", false: "bad", blocked: "bad", unknown: "warn"};
const body = byId("nodes").tBodies[0], headRow = byId("nodes").tHead.rows[0];
function tableRow(row) {
  const tr = make("tr");
  row.cells.forEach((text, i) => tr.append(make("td", text, i === 2 || i === 3 ? colours[text] : "")));
  return tr;
}
let sorted = -1, up = true; // no column: as the audit has it
columns.forEach((c, i) => {
  const th = make("th");
  th.append(button(c[1], "", () => {
    up = sorted === i ? !up : true; sorted = i;
    rows.sort((a, z) => (up ? 1 : -1) * compare(a.cells[i], z.cells[i]));
    [...headRow.cells].forEach((h, j) => { h.ariaSort = j !== i ? "none" : up ? "ascending" : "descending"; });
    show();
  }));
  headRow.append(th);
});

function show() {
  const narrowed = parse(filter.value), seen = rows.filter(row => hasRow(row, narrowed)), kept = new Set(seen);
  for (const row of rows) row.tile.classList.toggle("off", !kept.has(row));
  fill(body, seen, tableRow, b => {
    const tr = make("tr"), td = make("td");
    td.colSpan = columns.length;
    td.append(b);
    tr.append(td);
    return tr;
  });
  const shown = showFindings(narrowed), all = findings.reduce((n, f) => n + f[1].length, 0), to = id => () => byId(id).scrollIntoView();
  byId("shown").replaceChildren(button(`${seen.length} of ${rows.length} nodes`, "", to("all")), ", ", button(`${shown} of ${many(all, "finding")}`, "", to("found")));
}

// What stands above it all, and below.
const s = r.summary;
summary(r.time);
for (const [v, n] of [["true", s.ready], ["false", s.notReady], ["unknown", s.unknown]]) {
  const b = button("", "", () => narrow("ready=" + v)), key = make("span", signs[v], "key " + v);
  b.append(key, make("b", n.toLocaleString("en")), said[v]);
  byId("verdicts").append(b);
}
for (const [n, what, cls] of [[s.critical, "critical", "critical"], [s.warnings, "warning", "warning"], [s.infos, "info"], [s.undecoded || 0, "not decoded", "warning"], ...findings.slice(1).map(([state, all]) => [all.length, state])]) {
  if (n === 0) continue;
  const b = button("", "", () => byId(what === "not decoded" ? "unseen" : "found").scrollIntoView());
  b.append(make("b", n.toLocaleString("en"), cls), n === 1 || !/g$|o$/.test(what) ? what : what + "s");
  byId("verdicts").append(b);
}
if (r.pools.length) {
  byId("pools").append(make("h2", "Machine config pools"), list(r.pools.map(p =>
    `${p.name}: enables SCTP: ${p.enables}; ${p.updated} of ${p.nodes} nodes updated; ${p.message}`), "span"));
}
if (r.unseen.length) {
  byId("unseen").append(make("h2", "Not seen"), list(r.unseen.map(u =>
    u.why + (u.notChecked.length ? "; therefore not checked: " + u.notChecked.join(", ") : "")), "span"));
}

filter.addEventListener("input", () => narrow(filter.value));
addEventListener("hashchange", fromAddress);
addEventListener("keydown", e => { if (e.key === "Escape") { explain(null); narrow(""); } });
by.addEventListener("change", () => { draw(); show(); });
draw();
fromAddress();

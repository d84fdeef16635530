const s = r.summary, ms = seconds => (seconds * 1000).toFixed(2) + " ms";
summary(`${r.time}: ${s.nodes} nodes, ${s.seen} seen; ${s.pairs} pairs are probed: ${s.ok} work, ${s.failed} fail, ${s.unknown} unknown`);

const zoned = (f, name) => (f.zones ? "zone " : "") + name;
const subject = f => f.node || zoned(f, f.from) + (f.bothWays ? " ↔ " : " → ") + zoned(f, f.to);
const findings = byId("findings");
if (r.findings.length === 0) findings.append(make("p", ...(s.seen === s.nodes && s.unknown === 0 ? ["Nothing fails.", "good"] : ["No failure is known.", "warn"])));
for (const kind of new Set(r.findings.map(f => f.kind))) {
  const group = r.findings.filter(f => f.kind === kind), d = make("details"), head = make("summary");
  d.dataset.kind = kind; d.open = group.length <= 5;
  head.append(make("span", kind, "critical"), ` (${group.length})`);
  d.append(head);
  for (const f of group) {
    const item = make("div");
    item.append(make("strong", subject(f)), `: ${f.message}` + (f.since ? `; since ${f.since}` : ""), list(f.evidence), make("p", "→ " + f.fix));
    d.append(item);
  }
  findings.append(d);
}
if (r.unseen.length) {
  const d = make("details");
  d.open = r.unseen.length <= 5;
  d.append(make("summary", `Not seen (${r.unseen.length})`), list(r.unseen.map(u => `${u.node}: ${u.why}`), "span"));
  byId("unseen").append(d);
}

// grid is a table with a row and a column for each name.
function grid(names, title, cell) {
  const table = make("table", undefined, "grid"), head = make("tr");
  head.append(make("th", "from \\ to"), ...names.map(n => make("th", title(n))));
  table.append(head);
  for (const from of names) {
    const tr = make("tr");
    tr.append(make("th", title(from)), ...names.map(to => cell(from, to)));
    table.append(tr);
  }
  return table;
}

const zones = [...new Set(r.nodes.map(n => n.zone || ""))].sort(), byZones = new Map(r.zones.map(z => [JSON.stringify([z.from, z.to]), z]));
byId("zones").append(grid(zones, z => z || "no zone", (from, to) => {
  const z = byZones.get(JSON.stringify([from, to]));
  if (!z) return make("td", "–", "dim");
  return make("td", `${z.failed} of ${z.pairs}` + (z.rtt ? `, ${ms(z.rtt)}` : ""), z.failed ? "bad" : z.ok ? "good" : "warn");
}));

const pairs = new Map(r.pairs.map(p => [JSON.stringify([p.from, p.to]), p]));
const state = (name, p) => `${name}: ${p.state}${p.cause ? ` (${p.cause})` : ""}`;
// A thousand nodes are a million cells: a page shows those with failures, or
// those that the filter names.
const most = 60;
const failing = new Set(r.pairs.filter(p => p.state === "failed").flatMap(p => [p.from, p.to]));
function show() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let names = r.nodes.filter(n => words.every(w => `${n.name} ${n.zone || ""}`.toLowerCase().includes(w)));
  const all = names.length;
  if (words.length === 0 && all > most) names = names.filter(n => failing.has(n.name));
  const shown = names.slice(0, most);
  byId("shown").textContent = `${shown.length} of ${r.nodes.length} nodes` + (shown.length < all ? words.length ? ": the first" : names.length > most ? ": the first with failures" : ": those with failures" : "");
  byId("nodes").replaceChildren(grid(shown, n => n.name, (from, to) => {
    const p = pairs.get(JSON.stringify([from.name, to.name]));
    if (!p) return make("td", "–", "dim");
    let text = "unknown", cls = "warn";
    if (p.state === "failed") [text, cls] = [p.new.state !== "failed" ? "kept fails" : p.kept.state === "ok" ? "new fails" : "fails", "bad"];
    if (p.state === "ok") [text, cls] = [ms(p.new.rtt || 0), "good"];
    const td = make("td", text, cls);
    td.title = [state("new association", p.new), state("kept", p.kept), state("TCP", p.tcp)].join("\n");
    return td;
  }));
}
// The filter stands in the address, to be sent to somebody.
byId("filter").value = decodeURIComponent(location.hash.slice(1));
byId("filter").addEventListener("input", () => { history.replaceState(null, "", "#" + encodeURIComponent(byId("filter").value)); show(); });
show();

const s = r.summary;
summary(`${r.time}: ${s.nodes} nodes: ${s.ready} ready, ${s.notReady} not ready, ${s.unknown} unknown; ` +
  `${s.critical} critical, ${s.warnings} warnings, ${s.infos} infos`);

const findings = byId("findings");
if (r.findings.length === 0) findings.append(make("p", "Nothing found.", "good"));
for (let i = 0; i < r.findings.length;) {
  const kind = r.findings[i].kind, group = r.findings.filter(f => f.kind === kind);
  i += group.length;
  const d = make("details"); d.dataset.kind = kind; d.open = group.length <= 5;
  const head = make("summary");
  head.append(make("span", group[0].severity, group[0].severity), ` ${r.titles[kind]} (${group.length})`);
  d.append(head);
  for (const f of group) {
    const item = make("div");
    item.append(make("strong", (f.object.namespace ? f.object.namespace + "/" : "") + f.object.name + (f.object.kind === "Node" && f.count > 1 ? ` and ${f.count - 1} more` : "")), ": " + f.message,
      list(f.evidence), make("p", "→ " + f.fix));
    d.append(item);
  }
  findings.append(d);
}

if (r.pools.length) {
  byId("pools").append(make("h2", "Machine config pools"), list(r.pools.map(p =>
    `${p.name}: enables SCTP: ${p.enables}; ${p.updated} of ${p.nodes} nodes updated; ${p.message}`), "span"));
}
if (r.unseen.length) {
  byId("unseen").append(make("h2", "Not seen"), list(r.unseen.map(u =>
    u.why + (u.notChecked.length ? "; therefore not checked: " + u.notChecked.join(", ") : "")), "span"));
}

const agentsSeen = !r.unseen.some(u => u.source === "pods" || u.source === "agents");
const columns = [
  ["Node", n => n.name], ["Pool", n => n.pool], ["Ready", n => n.ready], ["On boot", n => n.onBoot], ["Module", n => n.module],
  ["Reason", n => n.reason + (n.message ? ": " + n.message : "")], ["Since", n => n.since || ""],
  ["Agent", n => n.agent ? n.agent.version + (n.agent.ready ? "" : " (not ready)") : agentsSeen ? "none" : "?"]];
const colours = {true: "good", false: "bad", blocked: "bad", unknown: "warn"};
const body = byId("nodes").tBodies[0], headRow = byId("nodes").tHead.rows[0];
const rows = r.nodes.map(n => {
  const tr = make("tr"), cells = columns.map(c => c[1](n));
  cells.forEach((text, i) => tr.append(make("td", text, i === 2 || i === 3 ? colours[text] : "")));
  return {tr, cells, text: cells.join(" ").toLowerCase()};
});
let sorted = -1, up = true; // no column: as the audit has it
function show() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const seen = rows.filter(row => words.every(w => row.text.includes(w)));
  body.replaceChildren(...seen.map(row => row.tr));
  byId("shown").textContent = `${seen.length} of ${rows.length} nodes`;
}
columns.forEach((c, i) => {
  const b = make("button", c[0]);
  b.addEventListener("click", () => {
    up = sorted === i ? !up : true; sorted = i;
    rows.sort((a, z) => (up ? 1 : -1) * a.cells[i].localeCompare(z.cells[i], "en", {numeric: true}));
    show();
  });
  const th = make("th"); th.append(b); headRow.append(th);
});
// The filter stands in the address, to be sent to somebody: page.html#worker%20false
byId("filter").value = decodeURIComponent(location.hash.slice(1));
byId("filter").addEventListener("input", () => { history.replaceState(null, "", "#" + encodeURIComponent(byId("filter").value)); show(); });
show();

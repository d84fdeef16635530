const good = p => p.outcome === (p.kind === "policyDenied" ? "blocked" : "ok");
const ok = r.paths.filter(good).length, untried = r.paths.filter(p => p.outcome === "not-tried").length;
summary(`${r.time}: ${r.nodes.length} nodes` + (r.plan === "ring" ? ", each tried against the next ten on a ring" : "") +
  `, ${ok} of ${r.paths.length} paths are as expected` +
  (untried ? ` (${untried} not tried: they depend on pairs of pods that do not reach each other)` : "") +
  `, ${(r.durationMillis / 1000).toFixed(1)} s, image ${r.image}` + (r.policy ? `; NetworkPolicy for SCTP: ${r.policy}` : ""));

if (r.findings.length === 0) byId("findings").append(make("p", "SCTP works on every path.", "good"));
for (const f of r.findings) byId("findings").append(make("h2", f.kind + ": " + f.message, "bad"), list(f.evidence), make("p", "→ " + f.fix));

if (r.failovers?.length) byId("findings").append(make("h2", "Failover of a Service"), list(r.failovers.map(f =>
  `${f.family}, node ${f.from} to ${f.address}: ` + (f.outcome === "ok" ? `the endpoint on node ${f.to} answered ${f.seconds.toFixed(1)} s after that on node ${f.deleted}` : f.outcome) +
  (f.otherPortSeconds ? `, from other ports after ${f.otherPortSeconds.toFixed(1)} s` : ""))));

const titles = {pod: "Pod to pod", clusterIP: "Pod to Service (ClusterIP)", nodePort: "Pod to node port", loadBalancer: "Pod to load balancer",
  network: "Pod to pod, with a second path in another network",
  policyAllowed: "NetworkPolicy: the port it allows", policyDenied: "NetworkPolicy: a port it does not allow"};
// A cell shows the worst that happened.
const rank = p => p.outcome === "ok" ? 2 : p.outcome === "not-tried" ? 1 : 0;
function cell(kind, here) {
  if (!here) return make("td", "–", "dim");
  const worst = here.reduce((a, b) => rank(b) < rank(a) ? b : a);
  let text = worst.outcome, cls = "bad";
  if (worst.outcome === "not-tried") cls = "dim";
  if (worst.outcome === "ok") [text, cls] = [(worst.rttMicros / 1000).toFixed(2) + " ms", "good"];
  if (worst.outcome === "unknown") cls = "warn";
  if (worst.outcome === "blocked") cls = "good";
  // What a policy does not allow is to be blocked.
  if (worst.outcome === "ok" && kind === "policyDenied") [text, cls] = ["open", "bad"];
  const td = make("td", text, cls);
  td.title = here.map(p => `${p.address}: ${p.outcome} ${p.errno || ""}`).join("\n");
  return td;
}
// A cell of zones counts the paths that are as they should be.
function count(kind, here) {
  if (!here) return make("td", "–", "dim");
  const n = here.filter(good).length;
  return make("td", `${n} of ${here.length}`, n === here.length ? "good" : "bad");
}
// A table of more nodes than these is too large to be read, or shown.
const zones = r.nodes.length > 100, zoneOf = new Map(r.nodes.map(n => [n.name, n.zone || "–"]));
const place = zones ? name => zoneOf.get(name) : name => name;
const places = zones ? [...new Set(zoneOf.values())].sort() : r.nodes.map(n => n.name);
for (const kind of Object.keys(titles)) for (const family of ["IPv4", "IPv6"]) {
  const cells = new Map();
  for (const p of r.paths) if (p.kind === kind && p.family === family) {
    const at = JSON.stringify([place(p.from), place(p.via || p.to)]);
    if (cells.has(at)) cells.get(at).push(p); else cells.set(at, [p]);
  }
  if (cells.size === 0) continue;
  const table = make("table", undefined, "grid"), head = make("tr"), scroll = make("div", undefined, "scroll");
  head.append(make("th", zones ? "from zone \\ to" : "from \\ to"), ...places.map(name => make("th", name)));
  table.append(head);
  table.dataset.kind = kind; table.dataset.family = family;
  for (const from of places) {
    const tr = make("tr");
    tr.append(make("th", from));
    for (const to of places) tr.append((zones ? count : cell)(kind, cells.get(JSON.stringify([from, to]))));
    table.append(tr);
  }
  scroll.append(table);
  byId("matrices").append(make("h2", `${titles[kind]}, ${family}`), scroll);
}

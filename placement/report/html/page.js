'use strict';
(() => {
const started = performance.now();
const D = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);

// ---- packed columns: see codec.py
function ints(text) {
  const s = atob(text), runs = [];
  let at = 0, size = 0, value = 0, n = 0;
  const next = () => { let x = 0, scale = 1, b; do { b = s.charCodeAt(at++); x += (b & 127) * scale; scale *= 128; } while (b & 128); return x; };
  while (at < s.length) { const z = next(), count = next(); runs.push(z % 2 ? -(z + 1) / 2 : z / 2, count); size += count; }
  const out = new Int32Array(size);
  for (let k = 0; k < runs.length; k += 2) { const step = runs[k]; for (let i = runs[k + 1]; i > 0; i--) out[n++] = value += step; }
  return out;
}
function names(packed) {
  const which = ints(packed.which), columns = packed.numbers.map(ints);
  return i => {
    let n = 0;
    return packed.text[which[i]].map((p, k) => k % 2 ? String(columns[n++][i]).padStart(p, '0') : p).join('');
  };
}
const G = D.gpus, N = D.nodes, U = N * G, [W, H] = D.size, [NW] = D.node;
const xN = ints(D.x), yN = ints(D.y), gpuOf = ints(D.gpuOf), healthOf = ints(D.healthOf), R = gpuOf.length;
const rankOf = new Int32Array(U).fill(-1);
for (let r = 0; r < R; r++) rankOf[gpuOf[r]] = r;
const host = names(D.hosts), rack = names(D.racks);
const tiers = D.tiers.map(t => ({ ...t, group: ints(t.group), box: t.box.map(ints), load: ints(t.load), busy: ints(t.busy) }));
const ux = u => xN[u / G | 0] + u % G % NW, uy = u => yN[u / G | 0] + (u % G / NW | 0);
const at = new Int32Array(W * H);
for (let u = 0; u < U; u++) at[uy(u) * W + ux(u)] = u + 1;
const gpuAt = (x, y) => x < 0 || y < 0 || x >= W || y >= H ? -1 : at[(y | 0) * W + (x | 0)] - 1;

// ---- what a GPU is, under each way to colour: a class number; -1 is "no rank"
const stage = r => { let low = 0, high = D.first.length; while (high - low > 1) { const mid = low + high >> 1; if (D.first[mid] <= r) low = mid; else high = mid; } return low; };
const part = p => D.kind === 'stage' ? `stage ${p}` : D.stages[p];
const replica = r => r % D.stageRanks / D.denseRanks | 0;
const expert = r => r % D.stageRanks / D.expertRanks | 0;
const replicas = D.stageRanks / D.denseRanks, experts = D.stageRanks / D.expertRanks;
const hex = c => [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16));
const RAMP = D.ramp.map(hex), DARK = matchMedia('(prefers-color-scheme: dark)');
function ramp(q) {
  const p = Math.min(Math.max(q, 0), 1) * (RAMP.length - 1), i = Math.min(p | 0, RAMP.length - 2);
  return RAMP[i].map((c, k) => Math.round(c + (RAMP[i + 1][k] - c) * (p - i)));
}
const BINS = 8;
const bin = (n, count) => Math.min(n * BINS / count | 0, BINS - 1);
const range = (k, count) => { const a = Math.ceil(k * count / BINS), b = Math.ceil((k + 1) * count / BINS) - 1; return a > b ? '' : a === b ? `${a}` : `${a} to ${b}`; };
function shares(what, count, of) {
  return { classes: Array.from({ length: BINS }, (_, k) => ({ name: range(k, count) && `${what} ${range(k, count)}`, colour: ramp(k / (BINS - 1)) })),
    of: u => rankOf[u] < 0 ? -1 : bin(of(rankOf[u]), count) };
}
const HEALTH = [[0, 158, 115], [213, 94, 0], [230, 159, 0], [120, 120, 120], [86, 180, 233], [204, 121, 167]];
const MARKS = ['', '\u00d7', '\u2013', '\u25a1', 'r', '~'];
const modes = {
  stage: () => ({ classes: D.stages.map((s, p) => ({ name: part(p), colour: hex(D.stageColours[p]) })), of: u => rankOf[u] < 0 ? -1 : stage(rankOf[u]) }),
  replica: () => shares('replica', replicas, replica),
  expert: () => shares('expert group', experts, expert),
  health: () => ({ classes: D.health.map((name, i) => ({ name: MARKS[i] ? `${MARKS[i]} ${name}` : name, colour: HEALTH[i] })), of: u => healthOf[u] }),
  spare: () => ({ classes: [{ name: 'runs a rank', colour: hex(D.categories[0]) }, { name: 'spare', colour: hex(D.categories[1]) }, { name: 'out of service', colour: [120, 120, 120] }],
    of: u => rankOf[u] >= 0 ? 0 : healthOf[u] === 0 || healthOf[u] === 5 || healthOf[u] === 4 ? 1 : 2 }),
};
tiers.forEach((t, i) => { modes['load' + i] = () => ({
  classes: Array.from({ length: BINS }, (_, k) => ({ name: `${seconds(t.seconds * k / BINS)} to ${seconds(t.seconds * (k + 1) / BINS)}`, colour: ramp(k / (BINS - 1)) })),
  of: u => bin(t.busy[t.group[u / G | 0]], 1e6 + 1) }); });
function seconds(s) { return s >= 1 ? s.toFixed(2) + ' s' : s >= 1e-3 ? (s * 1e3).toFixed(2) + ' ms' : s > 0 ? (s * 1e6).toFixed(1) + ' us' : '0 s'; }
function bytes(n) { let i = 0; while (n >= 999.5 && i < 6) { n /= 1000; i++; } return (n ? n.toPrecision(3) : '0') + ' ' + ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'][i]; }
const comma = n => n.toLocaleString('en-US');

// ---- drawing
const canvas = $('canvas'), over = $('over'), pen = canvas.getContext('2d'), ink = over.getContext('2d');
const world = document.createElement('canvas');
world.width = W; world.height = H;
const brush = world.getContext('2d');
let mode, modeName = 'stage', only = null, scale = 1, left = 0, top = 0, wide = 1, high = 1, chosen = -1, held = false, members = [], frame = 0;
const theme = () => { const s = getComputedStyle(document.documentElement), v = n => s.getPropertyValue(n).trim(); return { bg: v('--panel'), fg: v('--fg'), dim: v('--dim'), accent: v('--accent') }; };
let T = theme();
const NONE = () => hex(DARK.matches ? '#4a5361' : '#c3cad3');
const kindOf = new Int16Array(U), pixelOf = new Int32Array(U);
for (let u = 0; u < U; u++) pixelOf[u] = uy(u) * W + ux(u);
const image = brush.createImageData(W, H), pixels = new Uint32Array(image.data.buffer);
const little = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
function paint() {
  const packed = [NONE(), ...mode.classes.map(c => c.colour)].map(([r, g, b], i) => {
    const a = only === null || only === i - 1 ? 255 : 36;
    return (little ? a << 24 | b << 16 | g << 8 | r : r << 24 | g << 16 | b << 8 | a) >>> 0;
  });
  for (let u = 0; u < U; u++) pixels[pixelOf[u]] = packed[kindOf[u] + 1];
  brush.putImageData(image, 0, 0);
  draw();
}
function size() {
  const dpr = devicePixelRatio || 1;
  wide = canvas.clientWidth; high = canvas.clientHeight;
  for (const c of [canvas, over]) { c.width = wide * dpr; c.height = high * dpr; c.getContext('2d').setTransform(dpr, 0, 0, dpr, 0, 0); }
}
const least = () => Math.min(wide / (W + 4), high / (H + 4));
function fit(x, y, w, h) { scale = Math.min(wide / (w + 2), high / (h + 2), 64); left = x + w / 2 - wide / scale / 2; top = y + h / 2 - high / scale / 2; draw(); }
const all = () => fit(0, 0, W, H);
function zoom(by, px = wide / 2, py = high / 2) {
  const wx = left + px / scale, wy = top + py / scale;
  scale = Math.min(Math.max(scale * by, least()), 64);
  left = wx - px / scale; top = wy - py / scale;
  draw();
}
function draw() { if (!frame) frame = requestAnimationFrame(() => { frame = 0; render(); mark(); crumbs(); }); }
function boxes(t, visit) {
  const [x, y, w, h] = t.box;
  for (let j = 0; j < x.length; j++) {
    const sx = (x[j] - left) * scale, sy = (y[j] - top) * scale, sw = w[j] * scale, sh = h[j] * scale;
    if (sx < wide && sy < high && sx + sw > 0 && sy + sh > 0) visit(j, sx, sy, sw, sh);
  }
}
function render() {
  pen.clearRect(0, 0, wide, high);
  pen.imageSmoothingEnabled = scale < 1;
  pen.drawImage(world, -left * scale, -top * scale, W * scale, H * scale);
  pen.strokeStyle = T.dim; pen.fillStyle = T.fg; pen.textBaseline = 'bottom';
  tiers.forEach((t, i) => {
    if (t.box[0].length < 2 && i) return;
    const w = t.box[2][0] * scale, h = t.box[3][0] * scale;
    if (w < 14) return;
    pen.globalAlpha = i ? 0.55 : 0.9; pen.lineWidth = i ? 1 : 0.8;
    boxes(t, (j, sx, sy, sw, sh) => {
      pen.strokeRect(sx - .5, sy - .5, sw + 1, sh + 1);
      const label = i ? `${t.name} ${j}` : rack(j), room = i ? (2 * i - 1) * scale : scale;
      if (room >= 10 && sw > 6.5 * label.length) { pen.globalAlpha = 1; pen.font = '11px system-ui,sans-serif'; pen.fillText(label, sx + 2, i ? sy + 12 : sy - 1); pen.globalAlpha = i ? 0.55 : 0.9; }
    });
  });
  pen.globalAlpha = 1;
  if (scale < 7) domains();
  cells();
}
const idle = new Uint8Array(tiers[0].box[0].length).fill(1), broken = new Uint8Array(idle.length);
for (let u = 0; u < U; u++) { const j = tiers[0].group[u / G | 0]; if (rankOf[u] >= 0) idle[j] = 0; if (healthOf[u] > 0 && healthOf[u] < 4) broken[j] = 1; }
function domains() { // from afar: a stroke through domains without ranks, a cross through those with parts out of service
  pen.strokeStyle = T.fg; pen.lineWidth = 1; pen.globalAlpha = .6;
  pen.beginPath();
  boxes(tiers[0], (j, sx, sy, sw, sh) => {
    if (sw < 2 || !(idle[j] || broken[j])) return;
    pen.moveTo(sx, sy + sh); pen.lineTo(sx + sw, sy);
    if (broken[j]) { pen.moveTo(sx, sy); pen.lineTo(sx + sw, sy + sh); }
  });
  pen.stroke();
  pen.globalAlpha = 1;
}
function visible(visit) {
  const x0 = Math.max(left | 0, 0), y0 = Math.max(top | 0, 0), x1 = Math.min(Math.ceil(left + wide / scale), W), y1 = Math.min(Math.ceil(top + high / scale), H);
  for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) { const u = at[y * W + x] - 1; if (u >= 0) visit(u, (x - left) * scale, (y - top) * scale); }
}
function cells() { // close enough to read: borders, marks of what has no rank, and numbers
  if (scale < 7) return;
  pen.strokeStyle = T.bg; pen.lineWidth = 1; pen.textAlign = 'center'; pen.textBaseline = 'middle';
  pen.font = `${Math.min(scale * .5, 13) | 0}px system-ui,sans-serif`;
  visible((u, sx, sy) => {
    pen.strokeRect(sx, sy, scale, scale);
    const r = rankOf[u], k = kindOf[u], mark = MARKS[healthOf[u]] || (r < 0 ? '/' : '');
    const label = scale >= 34 && r >= 0 && modeName !== 'health' ? String(r) : mark || (modeName === 'stage' && scale >= 11 ? String(k) : '');
    if (!label) return;
    const c = k < 0 ? NONE() : mode.classes[k].colour;
    pen.fillStyle = only !== null && only !== k ? T.fg : c[0] * .299 + c[1] * .587 + c[2] * .114 > 140 ? '#000' : '#fff';
    pen.fillText(label, sx + scale / 2, sy + scale / 2, scale - 1);
  });
  pen.textAlign = 'left';
}
const AXIS = { tp: '#ff2e63', gtp: '#b3003b', cp: '#ff9f1c', ep: '#f72bd0', etp: '#a0522d', egtp: '#c97b00', dp: '', edp: '#7b3ff2', pp: '#00b4d8' };
const SMALL = 256; // members from which on a group seen from afar is drawn as dots of its GPUs, not as marks
const axisColour = a => AXIS[a.split('.').pop()] || T.fg;
function square(on, g, u, grow) { // one member: a frame around its GPU when near, a mark with a rim when afar
  const sx = (ux(u) - left) * scale, sy = (uy(u) - top) * scale;
  if (sx < -9 || sy < -9 || sx > wide + 9 || sy > high + 9) return;
  if (scale > 10) { on.strokeStyle = axisColour(g.axis); on.lineWidth = 2; on.strokeRect(sx + grow * 2, sy + grow * 2, scale - grow * 4, scale - grow * 4); return; }
  const d = Math.max(scale, 5), x = sx + scale / 2 - d / 2, y = sy + scale / 2 - d / 2;
  on.fillStyle = T.bg; on.fillRect(x - 1, y - 1, d + 2, d + 2);
  on.fillStyle = axisColour(g.axis); on.fillRect(x, y, d, d);
}
function dots(on, g) {
  const d = Math.max(scale, 1.4);
  on.fillStyle = axisColour(g.axis);
  on.beginPath();
  for (const r of g.ranks) on.rect((ux(gpuOf[r]) - left) * scale, (uy(gpuOf[r]) - top) * scale, d, d);
  on.fill();
}
function mark(on = ink) { // members of the groups, the largest below; then the GPU itself in a ring
  if (on === ink) on.clearRect(0, 0, wide, high);
  if (chosen < 0) return;
  [...members].sort((a, b) => b.ranks.length - a.ranks.length).forEach((g, i) => {
    if (scale <= 10 && g.ranks.length > SMALL) dots(on, g);
    else for (const r of g.ranks) square(on, g, gpuOf[r], 1 + i % 3);
  });
  const x = (ux(chosen) - left + .5) * scale, y = (uy(chosen) - top + .5) * scale;
  for (const [width, c] of [[5, T.bg], [2.5, T.fg]]) { on.beginPath(); on.arc(x, y, Math.max(scale * .8, 9), 0, 7); on.lineWidth = width; on.strokeStyle = c; on.stroke(); }
}

// ---- one GPU: its facts and its groups
const within = (r, a) => r >= a.first && r < a.first + a.ranks, position = (r, a) => ((r - a.first) / a.stride | 0) % a.size;
const group = (r, a) => { const first = r - position(r, a) * a.stride; return Array.from({ length: a.size }, (_, i) => first + i * a.stride); };
function meets(ranks) {
  for (const t of tiers) { const g = t.group[gpuOf[ranks[0]] / G | 0]; if (ranks.every(r => t.group[gpuOf[r] / G | 0] === g)) return t.name; }
  return 'nowhere';
}
function ranges(ranks) {
  const n = ranks.length, step = n > 1 ? ranks[1] - ranks[0] : 1;
  return n === 1 ? `${ranks[0]}` : step === 1 ? `${ranks[0]}-${ranks[n - 1]}` : `${ranks[0]}-${ranks[n - 1]}:${step}`;
}
const make = (tag, text, parent) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (parent) parent.append(e); return e; };
function choose(u) {
  chosen = u; members = [];
  const found = $('found');
  found.replaceChildren();
  if (u < 0) { mark(); return; }
  const n = u / G | 0, r = rankOf[u], wanted = $('axis').value, box = document.createDocumentFragment();
  make('strong', r < 0 ? `${host(n)} gpu ${u % G}: no rank` : `rank ${comma(r)} = ${host(n)} gpu ${u % G}`, box);
  const where = tiers.map((t, i) => i ? `${t.name} ${t.group[n]}` : `rack ${rack(t.group[n])}`).join(', ');
  make('div', `${D.health[healthOf[u]]}, ${where}, rail ${D.rails[u % G]}`, box);
  make('div', tiers.filter(t => t.seconds).map(t => `${t.name} uplink ${bytes(t.bytes * t.load[t.group[n]] / 1e6)} a step, ${seconds(t.seconds * t.busy[t.group[n]] / 1e6)}`).join(' \u00b7 '), box);
  if (r >= 0) {
    make('div', D.kind === 'stage' ? `${part(stage(r))}: ${D.stages[stage(r)]}` : `rank ${comma(r - D.first[stage(r)])} of ${part(stage(r))}`, box);
    const table = make('table', undefined, box), head = make('tr', undefined, make('thead', undefined, table)), body = make('tbody', undefined, table);
    for (const h of ['group', 'members', 'position', 'ranks', 'meets at']) make('th', h, head).scope = 'col';
    for (const a of D.axes.filter(a => within(r, a))) {
      const ranks = group(r, a), row = make('tr', undefined, body);
      if (wanted === 'all' || wanted === a.name) members.push({ axis: a.name, ranks });
      const name = make('th', undefined, row);
      name.scope = 'row'; make('i', undefined, name).style.borderColor = axisColour(a.name); name.append(a.name);
      for (const c of [comma(a.size), position(r, a), ranges(ranks), meets(ranks)]) make('td', c, row);
    }
  }
  found.append(box);
  mark();
}
function show(u) {
  if (u < 0) return;
  const x = ux(u), y = uy(u);
  if (x < left || y < top || x > left + wide / scale - 1 || y > top + high / scale - 1) { left = x - wide / scale / 2; top = y - high / scale / 2; draw(); }
  choose(u);
}
let shownPath = '';
function crumbs() {
  const u = chosen >= 0 ? chosen : gpuAt(left + wide / scale / 2, top + high / scale / 2), n = u / G | 0;
  const key = u < 0 ? 'none' : `${n}`;
  if (key === shownPath) return;
  shownPath = key;
  const nav = $('path');
  nav.replaceChildren();
  const add = (name, go) => { if (nav.childNodes.length) nav.append(' \u203a '); make('button', name, nav).onclick = go; nav.lastChild.type = 'button'; };
  add('cluster', all);
  if (u < 0) return;
  for (let i = tiers.length - 1; i >= 0; i--) {
    const t = tiers[i], j = t.group[n];
    if (i && t.box[0].length < 2) continue;
    add(i ? `${t.name} ${j}` : rack(j), () => fit(t.box[0][j], t.box[1][j], t.box[2][j], t.box[3][j]));
  }
  add(host(n), () => fit(xN[n], yN[n], D.node[0], D.node[1]));
}

// ---- legend, search, pointer, keys
function legend() {
  const count = new Int32Array(mode.classes.length + 1);
  for (let u = 0; u < U; u++) count[kindOf[u] + 1]++;
  const rows = mode.classes.map((c, k) => [k, c.name, c.colour]).concat([[-1, '/ no rank', NONE()]]);
  $('legend').replaceChildren(...rows.filter(([k]) => count[k + 1]).map(([k, name, c]) => {
    const b = document.createElement('button'), i = make('i', undefined, b);
    b.type = 'button'; i.style.background = `rgb(${c})`; b.append(`${name} (${comma(count[k + 1])})`);
    b.setAttribute('aria-pressed', 'false'); b.dataset.kind = k;
    b.onclick = () => { only = only === k ? null : k; for (const x of $('legend').children) x.setAttribute('aria-pressed', String(Number(x.dataset.kind) === only)); paint(); };
    return b;
  }));
}
function setMode(name) { modeName = name; mode = modes[name](); only = null; for (let u = 0; u < U; u++) kindOf[u] = mode.of(u); legend(); paint(); }
let hostIndex = null;
function hosts() { if (!hostIndex) { hostIndex = new Map(); for (let n = 0; n < N; n++) hostIndex.set(host(n), n); } return hostIndex; }
function find(text) {
  const t = text.trim().replace(/,/g, ''), number = /^(?:rank\s*)?(\d+)$/.exec(t), gpu = /^gpu\s*(\d+)$/.exec(t);
  if (number && Number(number[1]) < R) return gpuOf[Number(number[1])];
  if (gpu && Number(gpu[1]) < U) return Number(gpu[1]);
  const [name, slot = '0'] = t.split(/[:\s]+(?:gpu\s*)?/), n = hosts().get(name);
  if (n !== undefined && Number(slot) < G) return n * G + Number(slot);
  for (let j = 0; j < tiers[0].box[0].length; j++) if (rack(j) === t) return gpuAt(tiers[0].box[0][j], tiers[0].box[1][j]);
  return -1;
}
function suggest(text) {
  const hits = [];
  if (text.length > 1 && !/^\d+$/.test(text)) for (const name of hosts().keys()) { if (name.includes(text)) { hits.push(name); if (hits.length === 8) break; } }
  $('hits').replaceChildren(...hits.map(h => { const o = document.createElement('option'); o.value = h; return o; }));
}
$('find').addEventListener('input', e => suggest(e.target.value.trim()));
$('find').addEventListener('keydown', e => { if (e.key === 'Enter') go(e.target.value); });
$('find').addEventListener('change', e => { if (find(e.target.value) >= 0) go(e.target.value); });
function go(text) {
  const u = find(text);
  if (u < 0) { if (text.trim()) $('found').textContent = `Nothing is called "${text.trim()}": give a rank below ${comma(R)}, a host, host:gpu, or a rack.`; return; }
  held = true;
  if (scale < 6) { scale = 6; left = ux(u) - wide / 12; top = uy(u) - high / 12; draw(); }
  show(u);
  shownPath = ''; draw();
}
$('colour').onchange = e => setMode(e.target.value);
$('axis').onchange = () => choose(chosen);
$('in').onclick = () => zoom(1.6); $('out').onclick = () => zoom(1 / 1.6); $('fit').onclick = all;
let drag = null;
const local = e => { const b = canvas.getBoundingClientRect(); return [e.clientX - b.left, e.clientY - b.top]; };
const report = { ready: 0, ranks: R, hover: [], state: () => ({ mode: modeName, scale, left, top, chosen, held, only, rank: chosen < 0 ? -1 : rankOf[chosen], groups: members.map(m => [m.axis, m.ranks.length]) }),
  screen: r => { const u = gpuOf[r], b = canvas.getBoundingClientRect(); return [b.left + (ux(u) - left + .5) * scale, b.top + (uy(u) - top + .5) * scale]; } };
canvas.addEventListener('pointermove', e => {
  const begun = performance.now(), [x, y] = local(e);
  if (drag) { left -= (x - drag[0]) / scale; top -= (y - drag[1]) / scale; drag = [x, y, drag[2] + Math.abs(x - drag[0]) + Math.abs(y - drag[1])]; draw(); return; }
  if (held) return;
  const u = gpuAt(left + x / scale, top + y / scale);
  if (u >= 0 && u !== chosen) { choose(u); crumbs(); report.hover.push(performance.now() - begun); if (report.hover.length > 500) report.hover.shift(); }
});
canvas.addEventListener('pointerdown', e => { canvas.setPointerCapture(e.pointerId); drag = [...local(e), 0]; });
canvas.addEventListener('pointerup', e => {
  const moved = drag && drag[2] > 4, [x, y] = local(e);
  drag = null;
  if (moved) return;
  const u = gpuAt(left + x / scale, top + y / scale);
  held = u >= 0 && !(held && u === chosen);
  choose(u); crumbs();
});
canvas.addEventListener('dblclick', e => zoom(2.5, ...local(e)));
canvas.addEventListener('wheel', e => { if (!(e.ctrlKey || e.metaKey || document.activeElement === canvas)) return; e.preventDefault(); zoom(e.deltaY < 0 ? 1.25 : .8, ...local(e)); }, { passive: false });
function step(dx, dy, far) {
  if (chosen < 0) { held = true; show(gpuOf[0]); return; }
  let x = ux(chosen), y = uy(chosen);
  const mine = tiers[0].group[chosen / G | 0];
  for (let i = 0; i < W + H; i++) {
    x += dx; y += dy;
    const u = gpuAt(x, y);
    if (x < 0 || y < 0 || x >= W || y >= H) return;
    if (u >= 0 && (!far || tiers[0].group[u / G | 0] !== mine)) { held = true; show(u); crumbs(); return; }
  }
}
canvas.addEventListener('keydown', e => {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
  if (by) step(...by, e.shiftKey);
  else if (e.key === '+' || e.key === '=') zoomAt(1.6);
  else if (e.key === '-') zoomAt(1 / 1.6);
  else if (e.key === '0') all();
  else if (e.key === 'Enter' || e.key === ' ') { if (chosen < 0) step(0, 0); else held = !held; }
  else if (e.key === 'Escape') { held = false; choose(-1); }
  else return;
  e.preventDefault();
});
function zoomAt(by) { if (chosen < 0) zoom(by); else zoom(by, (ux(chosen) - left + .5) * scale, (uy(chosen) - top + .5) * scale); }
addEventListener('resize', () => { size(); draw(); });
DARK.addEventListener('change', () => { T = theme(); legend(); paint(); });
// On paper: what is in view, in light colours. Not resized, which would empty the canvas until the next frame.
const PAPER = { bg: '#fff', fg: '#000', dim: '#59626e', accent: '#0b62c4' };
function redraw(t) { T = t; cancelAnimationFrame(frame); frame = 0; render(); mark(); }
addEventListener('beforeprint', () => { redraw(PAPER); mark(pen); });
addEventListener('afterprint', () => redraw(theme()));
document.addEventListener('click', e => {
  const b = e.target.closest('button[data-tier]');
  if (!b) return;
  const t = tiers[Number(b.dataset.tier)], j = Number(b.dataset.group);
  $('colour').value = 'load' + b.dataset.tier; setMode($('colour').value);
  fit(...t.box.map(c => c[j]));
  held = true; choose(t.group.indexOf(j) * G);
  $('map-title').scrollIntoView(); canvas.focus({ preventScroll: true });
});
size(); all(); setMode('stage');
$('found').textContent = `${comma(R)} ranks on ${comma(U)} GPU slots. Point at one, or search for it.`;
report.ready = performance.now() - started;
requestAnimationFrame(() => performance.mark('report-interactive'));
window.placementReport = report;
})();

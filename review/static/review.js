"use strict";
// The page of one ECG: a view of the straightened page (or, in grid mode, of the photo), tools that turn into
// actions, and what the server answers. Places are squares of the paper; in grid mode px of the upright photo.

const SVG = "http://www.w3.org/2000/svg";
const CLICK_PX = 4; // px that a pointer may move during a click
const REACH_PX = 14; // px on the screen about a crossing in which it can be taken
const POLL_MS = 600; // ms between two questions whether a page is digitized
const AHEAD_MS = 2000; // ms for which a page is looked at before the next one is digitized meanwhile
const HINTS = {
  look: "wheel to zoom, drag to move",
  rows: "drag a zero line, the beginning, the end or a boundary; click a lead's name to change it",
  redraw: "click points along the trace from left to right, then Enter: between them it follows the ink",
  unreadable: "click where the stretch begins and where it ends, then Enter",
  grid: "drag a crossing to where it is on the photo; turn the photo; or lay a new grid",
};
const $ = (id) => document.getElementById(id);
const body = document.body;
const editing = () => /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName);

function element(name, attributes = {}, parent = null, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  parent?.append(made);
  return made;
}

if (body.classList.contains("list")) {
  addEventListener("keydown", (event) => {
    const rows = [...document.querySelectorAll("tbody tr")];
    const next = rows.find((row) => !row.dataset.finished && row.querySelector("a"));
    if (event.key === "Enter" && !editing() && document.activeElement.tagName !== "A") next?.querySelector("a").click();
  });
} else if (body.classList.contains("page")) startPage();

function startPage() {
  const base = `/page/${body.dataset.page}`;
  const sheet = $("sheet");
  const view = { sheet: null, photo: null }; // viewBoxes [x, y, width, height] of the two pictures
  let state = null;
  let mode = "look";
  let points = []; // of the stretch, or corners of the grid, being set
  let drag = null;
  let lattice = null;
  let working = false;

  // ---- the server

  async function ask(path, values) {
    const options = values && {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(values),
    };
    const answer = await fetch(base + path, options);
    return answer.json();
  }

  async function load() {
    const began = Date.now();
    for (;;) {
      const answer = await ask("/state").catch((error) => ({ status: "failed", reason: String(error) }));
      if (answer.status !== "loading") {
        busy("");
        setTimeout(readAhead, AHEAD_MS);
        if (answer.status === "ready") return show(answer);
        return problem(answer.reason);
      }
      busy(`being digitized … ${Math.round((Date.now() - began) / 1000)} s`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  // Have the next page digitized, unless this one is being changed: what is asked for first is done first.
  function readAhead() {
    if (body.dataset.ahead && !working) fetch(`/page/${body.dataset.ahead}/state`).catch(() => null);
  }

  async function send(path, values, message) {
    if (working || !state) return false;
    working = true;
    busy(message);
    problem("");
    try {
      const answer = await ask(path, { revision: state.revision, ...values });
      if (answer.revision) show(answer);
      if (answer.status !== "ready") problem(answer.problem || answer.reason);
      else return true;
      if (!answer.revision && state.readable) scales(); // what was typed and dragged goes back
      if (!answer.revision) draw();
    } catch (error) {
      problem(`the server does not answer (${error.message}). What was changed before is kept: start review.py again and open its new address`);
    } finally {
      working = false;
      busy("");
    }
    return false;
  }

  const act = (action) => send("/act", { action }, "being read again …");

  async function save(accept) {
    if (!(await send("/save", { accept }, "being saved …"))) return;
    if (accept) go("next");
  }

  function go(where) {
    const page = body.dataset[where];
    if (page) location.href = `/page/${page}`;
    else if (where === "next") location.href = "/";
  }

  function busy(text) {
    $("busy").textContent = text;
  }

  function problem(text) {
    $("problem").textContent = text || "";
    $("problem").hidden = !text;
  }

  // ---- what is shown beside the page

  function show(answer) {
    if (answer.pictures !== state?.pictures) {
      lattice = null;
      if (String(answer.photo) !== String(state?.photo)) view.photo = null; // else the zoom stays where it was
      if (!sameBox(state?.sheet, answer.sheet)) view.sheet = null;
    }
    const wasUnread = state && !state.readable;
    state = answer;
    if (wasUnread && state.readable) setMode("look");
    for (const button of document.querySelectorAll(".modes button")) button.disabled = !state.readable && button.dataset.mode !== "grid";
    body.dataset.revision = state.revision;
    $("save").disabled = !state.readable;
    $("accept").disabled = false;
    $("accept").textContent = state.readable ? "Accept" : "Set aside";
    $("undo").disabled = !state.undo;
    $("saved").textContent = state.accepted ? (state.readable ? "accepted" : "set aside") : state.saved ? (state.history.length ? "saved" : "") : state.kept ? "not saved yet" : "not saved yet; not kept if the server ends";
    list($("corrections"), state.corrections);
    $("history").textContent = state.history.map((note) => `${note.when.slice(0, 16).replace("T", " ")} ${note.who}: ${note.what.join("; ")}`).join(" · ");
    $("doubts").replaceChildren();
    for (const part of document.querySelectorAll(".leads-box, .side > .legend")) part.hidden = !state.readable;
    if (!state.readable) {
      doubts([state.reason || "no page is found"], "");
      if (mode !== "grid") setMode("grid");
      $("hint").textContent = "choose its layout above, turn the photo, or lay a new grid";
    } else {
      doubts(state.doubts.length ? state.doubts : ["nothing is doubted"], state.doubts.length ? "" : "none");
      if (state.settled.length) doubts(state.settled, "settled");
      $("leads").innerHTML = state.leads; // SVG that the server made, its texts escaped
      facts();
      scales();
      $("speed").title = `known by: ${state.layout.speedSource}`;
      $("gain").title = `known by: ${state.layout.gainSource}`;
      const chosen = $("row").value;
      $("row").replaceChildren(...["nearest", ...state.rows.map((_, row) => String(row + 1))].map((name) => new Option(name)));
      if (chosen) $("row").value = chosen;
    }
    draw();
  }

  function scales() {
    for (const [id, key] of [["layout", "name"], ["speed", "speed"], ["gain", "gain"]]) $(id).value = state.layout[key];
  }

  // Whether the page is nearly where it was, so that the view of it may stay.
  function sameBox(before, after) {
    return before && after && after.every((value, index) => Math.abs(value - before[index]) < 1);
  }

  function doubts(lines, kind) {
    const items = document.createElement("ul");
    items.className = kind;
    list(items, lines);
    $("doubts").append(items);
  }

  function list(parent, lines) {
    parent.replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  }

  function facts() {
    const items = [];
    for (const [name, value, before] of state.facts) {
      if (!value) continue;
      items.push(Object.assign(document.createElement("dt"), { textContent: name }));
      const cell = Object.assign(document.createElement("dd"), { textContent: value });
      if (before && before !== value) {
        cell.className = "changed";
        cell.append(Object.assign(document.createElement("span"), { className: "was", textContent: before }));
      }
      items.push(cell);
    }
    if (state.seconds) {
      items.push(Object.assign(document.createElement("dt"), { textContent: "read again in" }));
      items.push(Object.assign(document.createElement("dd"), { textContent: `${state.seconds.toFixed(1)} s` }));
    }
    $("facts").replaceChildren(...items);
  }

  // ---- the picture

  const onPhoto = () => mode === "grid" || !state?.readable;
  const box = () => view[onPhoto() ? "photo" : "sheet"];

  function draw() {
    if (!state) return;
    sheet.replaceChildren();
    if (onPhoto()) drawPhoto();
    else drawSheet();
  }

  function picture(name, [x, y, width, height]) {
    const which = onPhoto() ? "photo" : "sheet";
    view[which] ??= fitted([x, y, width, height]);
    element("image", { href: `${base}/${name}?v=${state.pictures}`, x, y, width, height, preserveAspectRatio: "none" }, sheet);
  }

  function fitted([x, y, width, height]) {
    const { clientWidth: w, clientHeight: h } = sheet;
    const scale = Math.max(width / w, height / h) * 1.02;
    return [x + width / 2 - (scale * w) / 2, y + height / 2 - (scale * h) / 2, scale * w, scale * h];
  }

  function place() {
    const now = box();
    if (!now) return;
    sheet.setAttribute("viewBox", now.join(" "));
    const px = now[2] / sheet.clientWidth; // units per px of the screen
    for (const grip of sheet.querySelectorAll("circle")) grip.setAttribute("r", (grip.dataset.px || 6) * px);
    for (const text of sheet.querySelectorAll("text")) text.setAttribute("font-size", 14 * px);
    for (const text of sheet.querySelectorAll("text")) text.setAttribute("stroke-width", 3 * px);
  }

  const path = (xy) => xy.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(3)} ${y.toFixed(3)}`).join("");

  function drawSheet() {
    picture("sheet.jpg", state.sheet);
    const { layout, rows } = state;
    rows.forEach((row, number) => {
      const zero = layout.zeroLines[number];
      for (const [kind, first, last] of row.spans)
        element("rect", { class: `span ${kind}`, x: first, y: zero - 2, width: last - first, height: 4 }, sheet);
      let d = "";
      let pen = false;
      row.y.forEach((y, index) => {
        if (y !== null) d += `${pen ? "L" : "M"}${(row.x + index * row.step).toFixed(3)} ${y}`;
        pen = y !== null;
      });
      element("path", { class: `line row${number % 4}`, d }, sheet);
    });
    for (const cell of layout.cells) {
      const label = element("text", { class: "lead", x: cell.x + 0.15, y: layout.zeroLines[cell.row] - 1.4, "data-lead": `${cell.row},${cell.column}` }, sheet, cell.lead);
      label.addEventListener("click", () => mode === "rows" && chooseLead(cell, label));
    }
    if (mode === "rows") drawHandles();
    drawDraft();
    place();
  }

  function drawHandles() {
    const { layout } = state;
    const end = layout.start + layout.width;
    const [top, bottom] = [layout.zeroLines[0] - 2.5, layout.zeroLines.at(-1) + 2.5];
    const across = (x, y) => x + layout.slant * (y - layout.middle);
    layout.zeroLines.forEach((y, row) => {
      element("path", { class: "zero", d: path([[across(layout.start, y) - 1, y], [end + 1, y]]), "data-line": `zero_line-${row}` }, sheet);
      element("circle", { class: "grip", cx: across(layout.start, y) - 1, cy: y, "data-handle": "zero_line", "data-number": row }, sheet);
    });
    const edges = [["start", layout.start, 0], ["end", end, 0], ...layout.boundaries.map((x, index) => ["boundary", x, index + 1])];
    for (const [kind, x, number] of edges) {
      const style = kind === "boundary" ? "boundary" : "";
      element("path", { class: `edge ${style}`, d: path([[across(x, top), top], [across(x, bottom), bottom]]), "data-line": `${kind}-${number}` }, sheet);
      element("circle", { class: `grip ${style || "edge"}-grip`, cx: across(x, top), cy: top, "data-handle": kind, "data-number": number }, sheet);
    }
  }

  async function drawPhoto() {
    picture("photo.jpg", [-0.5, -0.5, ...state.photo]);
    place();
    if (!lattice) {
      lattice = []; // asked for once
      const found = await ask("/grid").catch(() => []);
      lattice = Array.isArray(found) ? found : [];
      return draw();
    }
    const lines = [...lattice, ...(lattice[0] || []).map((_, column) => lattice.map((row) => row[column]))];
    element("path", { class: "lattice", d: lines.map(path).join("") }, sheet);
    for (const [column, row] of state.moved) {
      const [cx, cy] = lattice[row]?.[column] ?? [NaN, NaN]; // none while the page is not found
      if (cx === cx) element("circle", { class: "moved", cx, cy, "data-px": 5, "data-node": `${column},${row}` }, sheet);
    }
    drawDraft();
    place();
  }

  function drawDraft() {
    if (points.length > 1) element("path", { class: "draft", d: path(points) + (mode === "grid" && points.length === 4 ? "Z" : "") }, sheet);
    for (const [cx, cy] of points) element("circle", { class: "point", cx, cy, "data-px": 5 }, sheet);
    $("apply").disabled = points.length < 2;
    $("cancel").disabled = !points.length;
    $("lay").disabled = points.length !== 4;
  }

  // ---- tools

  function setMode(name) {
    mode = name;
    points = [];
    body.dataset.mode = name;
    setRectangle(false);
    $("lead").hidden = true;
    $("hint").textContent = HINTS[name];
    for (const button of document.querySelectorAll("[data-mode]")) if (button !== body) button.setAttribute("aria-pressed", button.dataset.mode === name);
    draw();
  }

  function setRectangle(on) {
    $("rectangle").setAttribute("aria-pressed", on);
    $("sides").hidden = !on;
    points = [];
    if (on) $("hint").textContent = "click four crossings of thick lines: top left, top right, bottom right, bottom left; then how many 5 mm squares lie between them";
    else if (mode === "grid") $("hint").textContent = HINTS.grid;
  }

  const takesPoints = () => ["redraw", "unreadable"].includes(mode) || (mode === "grid" && $("rectangle").getAttribute("aria-pressed") === "true");

  function addPoint(at) {
    const most = mode === "unreadable" ? 2 : mode === "grid" ? 4 : 400;
    if (points.length < most) points.push(at);
    draw();
  }

  function nearestRow([x, y]) {
    if ($("row").value !== "nearest" && mode === "redraw") return Number($("row").value) - 1;
    const distances = state.rows.map((row, number) => {
      const trace = row.y[Math.round((x - row.x) / row.step)];
      return Math.min(Math.abs(y - state.layout.zeroLines[number]), trace === null || trace === undefined ? Infinity : Math.abs(y - trace));
    });
    return distances.indexOf(Math.min(...distances));
  }

  async function applyPoints() {
    if (points.length < 2 || !["redraw", "unreadable"].includes(mode)) return;
    const kind = mode === "unreadable" ? "unreadable" : $("straight").checked ? "straight" : "ink";
    if (await act({ do: "redraw", row: nearestRow(points[0]), kind, points })) points = [];
    draw();
  }

  function cancelPoints() {
    points = [];
    draw();
  }

  function chooseLead(cell, label) {
    const select = $("lead");
    const at = label.getBoundingClientRect();
    const stage = sheet.getBoundingClientRect();
    select.style.left = `${at.left - stage.left}px`;
    select.style.top = `${at.top - stage.top}px`;
    select.value = cell.lead;
    select.hidden = false;
    select.focus();
    select.onchange = () => {
      select.hidden = true;
      act({ do: "name", row: cell.row, column: cell.column, lead: select.value });
    };
    select.onblur = () => (select.hidden = true);
  }

  // ---- the pointer

  function at(event) {
    const [x, y, width, height] = box();
    const area = sheet.getBoundingClientRect();
    return [x + ((event.clientX - area.left) / area.width) * width, y + ((event.clientY - area.top) / area.height) * height];
  }

  function nearestCrossing([x, y]) {
    const reach = (REACH_PX * box()[2]) / sheet.clientWidth;
    let best = null;
    let least = reach;
    for (const row of lattice || [])
      for (const point of row) {
        const distance = Math.hypot(point[0] - x, point[1] - y);
        if (distance < least) [best, least] = [point, distance];
      }
    return best;
  }

  sheet.addEventListener("pointerdown", (event) => {
    if (event.button || !box() || working) return;
    const handle = event.target.dataset?.handle;
    drag = { x: event.clientX, y: event.clientY, view: [...box()], moved: false };
    if (handle) Object.assign(drag, { handle, number: Number(event.target.dataset.number), grip: event.target });
    else if (mode === "grid" && !takesPoints()) {
      const crossing = nearestCrossing(at(event));
      if (crossing) {
        const grip = element("circle", { class: "moved", cx: crossing[0], cy: crossing[1], "data-px": 6 }, sheet);
        Object.assign(drag, { handle: "crossing", crossing, grip });
        place();
      }
    }
    if (event.target.dataset?.lead && mode === "rows") drag = null;
    else sheet.setPointerCapture(event.pointerId);
  });

  sheet.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (Math.hypot(dx, dy) > CLICK_PX) drag.moved = true;
    if (!drag.moved) return;
    if (drag.handle) return moveHandle(at(event));
    sheet.classList.add("dragging");
    const [x, y, width, height] = drag.view;
    view[onPhoto() ? "photo" : "sheet"] = [x - (dx / sheet.clientWidth) * width, y - (dy / sheet.clientHeight) * height, width, height];
    place();
  });

  function moveHandle([x, y]) {
    if (drag.handle === "crossing") {
      drag.grip.setAttribute("cx", x);
      drag.grip.setAttribute("cy", y);
      return;
    }
    const line = sheet.querySelector(`[data-line="${drag.handle}-${drag.number}"]`);
    const { layout } = state;
    if (drag.handle === "zero_line") {
      drag.grip.setAttribute("cy", y);
      line.setAttribute("transform", `translate(0 ${y - layout.zeroLines[drag.number]})`);
    } else {
      const before = { start: layout.start, end: layout.start + layout.width, boundary: layout.boundaries[drag.number - 1] }[drag.handle];
      const [top, gripY] = [layout.zeroLines[0] - 2.5, Number(drag.grip.getAttribute("cy"))];
      drag.to = x - layout.slant * (gripY - layout.middle);
      drag.grip.setAttribute("cx", x);
      line.setAttribute("transform", `translate(${drag.to - before} 0)`);
    }
  }

  sheet.addEventListener("pointerup", (event) => {
    const ended = drag;
    drag = null;
    sheet.classList.remove("dragging");
    if (!ended) return;
    const to = at(event);
    if (!ended.moved) {
      if (ended.handle === "crossing") ended.grip.remove();
      else if (!ended.handle && takesPoints()) addPoint(to);
      return;
    }
    const { layout } = state;
    if (ended.handle === "crossing") act({ do: "crossing", found: ended.crossing, true: to });
    else if (ended.handle === "zero_line") act({ do: "zero_line", row: ended.number, point: [layout.start + layout.width / 2, to[1]] });
    else if (ended.handle === "boundary") act({ do: "boundary", number: ended.number, point: [ended.to, layout.middle] });
    else if (ended.handle) act({ do: "end", side: ended.handle, point: [ended.to, layout.middle] });
  });

  sheet.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (box()) zoom(Math.exp(Math.max(-0.5, Math.min(0.5, event.deltaY / 400))), at(event));
  }, { passive: false });

  function zoom(factor, [cx, cy]) {
    const [x, y, width, height] = box();
    view[onPhoto() ? "photo" : "sheet"] = [cx - (cx - x) * factor, cy - (cy - y) * factor, width * factor, height * factor];
    place();
  }

  function middle() {
    const [x, y, width, height] = box();
    return [x + width / 2, y + height / 2];
  }

  function fit() {
    view[onPhoto() ? "photo" : "sheet"] = null;
    draw();
  }

  // ---- buttons and keys

  for (const button of document.querySelectorAll(".modes button")) button.onclick = () => setMode(button.dataset.mode);
  for (const button of document.querySelectorAll("[data-turn]")) button.onclick = () => act({ do: "turn", how: button.dataset.turn });
  $("rectangle").onclick = () => {
    setRectangle($("rectangle").getAttribute("aria-pressed") !== "true");
    draw();
  };
  $("lay").onclick = async () => {
    const values = { corners: points, across: Number($("across").value), down: Number($("down").value) };
    if (await act({ do: "rectangle", ...values })) setRectangle(false);
    draw();
  };
  $("layout").onchange = () => act({ do: "layout", layout: $("layout").value.trim() });
  $("speed").onchange = () => act({ do: "speed", value: Number($("speed").value.replace(",", ".")) });
  $("gain").onchange = () => act({ do: "gain", value: Number($("gain").value.replace(",", ".")) });
  for (const id of ["layout", "speed", "gain"]) {
    $(id).onfocus = () => ($(id).value = ""); // a list of suggestions shows what fits the text
    $(id).onblur = () => state?.readable && !$(id).value && ($(id).value = state.layout[id === "layout" ? "name" : id]);
  }
  $("undo").onclick = () => act({ do: "undo" });
  $("apply").onclick = applyPoints;
  $("cancel").onclick = cancelPoints;
  $("fit").onclick = fit;
  $("save").onclick = () => save(false);
  $("accept").onclick = () => save(true);
  $("previous").onclick = () => go("previous");
  $("next").onclick = () => go("next");

  const KEYS = {
    a: () => !$("accept").disabled && save(true),
    s: () => !$("save").disabled && save(false),
    n: () => go("next"),
    p: () => go("previous"),
    z: () => !$("undo").disabled && act({ do: "undo" }),
    "+": () => zoom(0.8, middle()),
    "=": () => zoom(0.8, middle()),
    "-": () => zoom(1.25, middle()),
    0: fit,
    1: () => setMode("look"),
    2: () => setMode("rows"),
    3: () => setMode("redraw"),
    4: () => setMode("unreadable"),
    5: () => setMode("grid"),
    "?": () => $("keys").showModal(),
    Enter: applyPoints,
    Backspace: () => {
      points.pop();
      draw();
    },
    Escape: () => {
      if (points.length) cancelPoints();
      else if (mode !== "look" && state?.readable) setMode("look");
      else location.href = "/";
    },
  };
  addEventListener("keydown", (event) => {
    if (editing()) {
      if (event.key === "Escape") document.activeElement.blur();
      return;
    }
    if (event.ctrlKey && event.key === "z") KEYS.z();
    if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
    const done = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!done || (event.key === "Enter" && document.activeElement.tagName === "BUTTON")) return;
    event.preventDefault();
    done();
  });
  addEventListener("beforeunload", (event) => {
    if (state && !state.saved && !state.kept) event.preventDefault(); // kept ones are there when it is opened again
  });
  addEventListener("resize", () => {
    view.sheet = view.photo = null;
    draw();
  });

  setMode("look");
  load();
}

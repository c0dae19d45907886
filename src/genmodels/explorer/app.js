// The page: what is shown, what the user does, and the address that says both.
const NAMES = ["ae", "vae"], SIDE = 28;
const part = id => JSON.parse(document.getElementById(id).textContent);
const about = part("about"), models = {}, pictures = { width: SIDE, height: SIDE };
const later = {};  // what the page reads after the first picture: maps, images, deviations, networks
const view = {
    language: spoken.language, theme: "auto", show: "codes", linked: true,
    dimmed: new Set(), image: about.typical[3], from: { image: about.typical[9] }, to: { image: about.typical[7] },
    share: 0, walked: false, ae: [0, 0], vae: [0, 0], digit: 3, cell: [1, 1], hand: 1, dims: 25, shift: [], class: 7, noise: 1, mix: 0,
};
let hovered = null, waiting = false, first = true;

// Changes the view and draws it with the next frame.
function update(changes) {
    Object.assign(view, changes);
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; render(); });
}

// --- networks ---

// Returns the images of a batch of codes, one after another.
function decode(name, codes) {
    return Layers.run(models[name].decoder, [Float32Array.from(codes)], codes.length / 2).map(Layers.sigmoid);
}

const codeOf = (name, row) => [...models[name].codes.subarray(2 * row, 2 * row + 2)];
const endOf = (name, end) => "image" in end ? codeOf(name, end.image) : end[name];
const between = (name, share) => {
    const [from, to] = [endOf(name, view.from), endOf(name, view.to)];
    return from.map((value, axis) => (1 - share) * value + share * to[axis]);
};

// Returns what both classifiers say of the image at a point: [label, probability] of each; none while maps are missing.
function verdicts(name, [x, y]) {
    if (!later.maps) return [];
    const place = value => Math.round((Math.min(Math.max(value / about.edge, -1), 1) + 1) / 2 * (about.map - 1));
    const cell = 2 * (place(-y) * about.map + place(x)), size = 2 * about.map ** 2;
    return [0, 1].map(judge => [later.maps[name][judge * size + cell], later.maps[name][judge * size + cell + 1] / 255]);
}

// Returns it in words, a line for each classifier.
const opinions = (name, z) => {
    const found = verdicts(name, z);
    return [0, 1].map(judge => `${word("judge", judge + 1)}: ${found.length ? word("says", found[judge][0], percent(found[judge][1])) : word("loading")}`);
};
const placeText = z => word("at", ...z.map(value => number(value, 2)));

// --- the address ---

const written = ([x, y]) => `${x.toFixed(3)},${y.toFixed(3)}`;
const endAsText = end => "image" in end ? String(end.image) : `${written(end.ae)},${written(end.vae)}`;

function writeAddress() {
    const way = view.walked ? { from: endAsText(view.from), to: endAsText(view.to), at: view.share.toFixed(2) } : {};
    const fields = { lang: view.language, theme: view.theme, show: view.show, ae: written(view.ae), vae: written(view.vae),
        image: view.image, ...way,
        off: [...view.dimmed].sort().join(""), free: view.linked ? "" : "1",
        cvae: [view.digit, ...view.cell, view.hand, view.dims, ...view.shift].join(), gan: [view.class, view.noise, view.mix.toFixed(2)].join() };
    const text = Object.entries(fields).filter(([, value]) => value !== "").map(pair => pair.join("=")).join("&");
    history.replaceState(null, "", `#${text}`);
}

const isRow = value => Number.isInteger(value) && value >= 0 && value < about.count;
const isPoint = values => values.length == 2 && values.every(value => Math.abs(value) <= 100);
const numbers = text => (text ?? "").split(",").map(Number);

function readEnd(text, fallback) {
    const values = numbers(text);
    if (text && values.length == 1 && isRow(values[0])) return { image: values[0] };
    const [ae, vae] = [values.slice(0, 2), values.slice(2)];
    return isPoint(ae) && isPoint(vae) ? { ae, vae } : fallback;
}

// Takes from the address whatever it says that can be shown.
function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1)), chosen = (name, among) => among.find(each => each == given.get(name));
    view.language = chosen("lang", Object.keys(WORDS)) ?? view.language;
    view.theme = chosen("theme", THEMES) ?? view.theme;
    view.show = chosen("show", SHOWN) ?? view.show;
    view.dimmed = new Set([...(given.get("off") ?? "")].map(Number).filter(digit => digit in about.colours));
    view.linked = !given.get("free");
    if (given.get("image") && isRow(+given.get("image"))) view.image = +given.get("image");
    view.from = readEnd(given.get("from"), view.from);
    view.to = readEnd(given.get("to"), view.to);
    view.walked = given.has("from");
    view.share = Math.min(Math.max(+given.get("at") || 0, 0), 1);
    const [digit, column, row, hand, dims = 25, ...shift] = numbers(given.get("cvae")), [label, seed, mix] = numbers(given.get("gan"));
    if (digit in about.colours && CELLS.includes(column) && CELLS.includes(row) && Number.isInteger(hand) && dims in about.cvaes
        && shift.length <= about.cvaes[dims].axes.length && shift.every(value => Math.abs(value) <= FURTHEST))
        Object.assign(view, { digit, cell: [column, row], hand, dims, shift });
    if (label in about.colours && Number.isInteger(seed) && mix >= 0 && mix <= 1) Object.assign(view, { class: label, noise: seed, mix });
    for (const name of NAMES) {
        const point = numbers(given.get(name));
        view[name] = given.get(name) && isPoint(point) ? point : codeOf(name, view.image);
    }
}

// --- controls ---

const SHOWN = ["codes", "grid", "verdict1", "verdict2"], panels = {};
function buildPlaneTools() {
    byId("plane-tools").append(
        chips("digits", "digit", about, () => view.dimmed, dimmed => update({ dimmed })),
        choice("show", "show", SHOWN, SHOWN.map(show => say(`show ${show}`)), show => update({ show })),
        element("label", { class: "check" }, element("input", { type: "checkbox", id: "linked",
            onchange: event => update({ linked: event.target.checked }) }), say("linked")));
}

function movePoint(name, z) {
    update(view.linked ? { ae: z, vae: z } : { [name]: z });
}

function pick(image) {
    own = null;
    update({ image, ...Object.fromEntries(NAMES.map(name => [name, codeOf(name, image)])) });
}

function buildPanels() {
    for (const name of NAMES) {
        const plane = new Plane(name, models[name], about, {
            move: z => movePoint(name, z), pick, hover: image => { if (image !== hovered) { hovered = image; update({}); } } });
        const panel = panels[name] = { plane, digit: imageCanvas(SIDE, SIDE, { "data-name": "drawn", "data-of": name }),
            where: element("p", { class: "where" }), judges: [0, 1].map(() => element("p", { class: "judge" })) };
        plane.background.dataset.name = "plane of";
        plane.point.dataset.name = "point";
        plane.background.dataset.of = plane.point.dataset.of = name;
        byId("planes").append(element("article", { id: name, "aria-labelledby": `${name}-title` },
            element("h3", { id: `${name}-title` }, say(name)), plane.element,
            element("div", { class: "beside" }, panel.digit, element("div", {}, panel.where, ...panel.judges)),
            element("p", { "data-word": `marks ${name}` }), scoreTable(name)));
        new ResizeObserver(() => update({})).observe(plane.element);
    }
}

// "How good is this?": the scores of a model beside those of real images, and its figures in the report.
function scoreTable(name) {
    const { rows, stale, seeds } = about.scores[name], digits = value => Math.abs(value) < 0.1 ? 4 : Math.abs(value) < 10 ? 3 : 1;
    const cell = (value, deviation) => element("td", value === null || value === undefined ? {} : {
        "data-number": value, "data-digits": digits(value), "data-deviation": deviation ?? "" });
    const head = element("tr", {}, ...["score", "model", "real"].map(title => element("th", { scope: "col" }, say(title))));
    const body = rows.map(([score, mean, deviation, real]) =>
        element("tr", {}, element("th", { scope: "row" }, say(score)), cell(mean, deviation), cell(real)));
    const links = Object.entries(about.figures[name]).flatMap(([figure, [shows, task]], i) =>
        [i ? ", " : " ", element("a", { href: `generative_models.html#${figure}` }, say(`figure ${shows}`, task))]);
    return element("details", {}, element("summary", {}, say("scores")),
        element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)),
        element("p", {}, say("seeds", seeds), " ", ...(stale ? [say("stale")] : [])),
        element("p", {}, say("in report"), ...links));
}

function buildImage() {
    const next = by => () => pick((view.image + by + about.count) % about.count);
    const same = () => {
        let row = view.image;
        do row = (row + 1) % about.count; while (models.ae.labels[row] != models.ae.labels[view.image]);
        pick(row);
    };
    byId("image-tools").append(
        element("label", {}, say("number"), " ", element("input", { type: "number", id: "number", min: 0, max: about.count - 1,
            onchange: event => isRow(+event.target.value) ? pick(+event.target.value) : update({}) })),
        button("previous", next(-1)), button("next", next(1)), button("same", same),
        button("random", () => pick(Math.floor(Math.random() * about.count))));
    for (const name of ["real", "binary", ...NAMES])
        byId("image").append(element("figure", {}, imageCanvas(SIDE, SIDE, { id: `image-${name}` }),
            element("figcaption", { id: `image-${name}-text` })));
}

function endChooser(which) {
    const options = [...about.typical.keys()].map(digit =>
        element("option", { value: about.typical[digit], "data-word": "typical", "data-values": JSON.stringify([digit]) }));
    options.push(element("option", { value: "own", "data-word": "own end", "data-values": "[]", hidden: true }));
    const choose = event => event.target.value != "own" && walk({ [which]: { image: +event.target.value } });
    return element("fieldset", {}, element("legend", {}, say(which)),
        element("select", { id: which, "data-name": which, onchange: choose }, ...options),
        button("use image", () => walk({ [which]: { image: view.image } })),
        button("use point", () => walk({ [which]: { ae: view.ae, vae: view.vae } })));
}

function buildWalk() {
    const presets = about.pairs.map(([from, to]) => button("preset", () =>
        walk({ from: { image: about.typical[from] }, to: { image: about.typical[to] } }), from, to));
    byId("walk-tools").append(element("fieldset", {}, element("legend", {}, say("presets")), ...presets),
        endChooser("from"), endChooser("to"));
    for (const name of NAMES) {
        const panel = panels[name], captioned = (canvas, hidden = false) => element("figure", { hidden }, canvas, element("figcaption"));
        panel.strip = imageCanvas(SIDE * STEPS, SIDE, { "data-name": "strip", "data-of": name, class: "digit strip" });
        panel.frame = imageCanvas(SIDE, SIDE, { "data-name": "frame", "data-of": name });
        panel.ends = [0, 1].map(() => captioned(imageCanvas(SIDE, SIDE), true));
        byId("walk").append(element("div", { class: "row" }, element("h3", {}, say(name)),
            panel.ends[0], panel.strip, panel.ends[1], captioned(panel.frame)));
    }
    byId("walk").append(element("div", { class: "bar" },
        element("button", { type: "button", id: "play", onclick: () => walker.toggle() }, say("play")),
        slider(say("step"), { id: "share", max: 100 }, value => { walker.stop(); stand(value / 100); })));
}

const walk = ends => { Object.assign(view, ends); stand(0); };

// Stands at a place of the segment.
const stand = share => update({ share, walked: true });

const walker = new Walker(stand, () => update({}));

// --- drawing ---

const changed = memory();

function render() {
    const start = performance.now();
    spoken.language = view.language;
    renderWords();
    for (const name of NAMES) renderPanel(name);
    renderControls();
    renderImage(hovered ?? view.image);
    if (!first) renderWalk(), renderStudio();
    clearTimeout(render.address);
    render.address = setTimeout(writeAddress, 300);
    performance.measure("render", { start });
}

function renderPanel(name) {
    const { plane, digit, where, judges } = panels[name], at = view[name];
    if (!plane.fit() && !plane.size) return;
    renderBackground(name);
    plane.drawMarks(at, { ...marked(name), segment: view.walked && [0, 1].map(share => between(name, share)), place: between(name, view.share) });
    renderTip(name);
    if (changed(`${name} digit`, at)) paint(digit, decode(name, at), SIDE, SIDE);
    const place = where.textContent = placeText(at), said = opinions(name, at);
    judges.forEach((line, judge) => { line.textContent = said[judge]; });
    plane.point.setAttribute("aria-valuenow", at[0].toFixed(2));
    plane.point.setAttribute("aria-valuetext", [place, ...said].join(", "));
}

// The image under the mouse, real and reconstructed.
function renderTip(name) {
    if (!changed(`${name} tip`, hovered, view.language, Boolean(later.images))) return;
    if (hovered === null || !later.images) return panels[name].plane.showTip(null);
    const [real, again] = [0, 1].map(() => imageCanvas(SIDE, SIDE));
    paint(real, realImage(hovered), SIDE, SIDE);
    paint(again, decode(name, codeOf(name, hovered)), SIDE, SIDE);
    panels[name].plane.showTip(codeOf(name, hovered), real, again,
        element("span", {}, word("real image", hovered, models.ae.labels[hovered])));
}

const realImage = row => Float32Array.from(later.images.subarray(row * SIDE ** 2, (row + 1) * SIDE ** 2), value => value / 255);

// The code with a cross: of the image under the mouse, of the user's own digit, or of the chosen image. The VAE's has radii.
function marked(name) {
    const row = hovered ?? view.image, drawn = own && hovered === null, deviations = later.deviations?.subarray(2 * row, 2 * row + 2);
    const radii = drawn ? own.radii : deviations && [...deviations].map(value => 2 * value);
    return { code: drawn ? own[name] : codeOf(name, row), radii: name == "vae" && radii };
}

function renderBackground(name) {
    const { plane } = panels[name], { show } = view, judge = { verdict1: 0, verdict2: 1 }[show];
    const picture = show == "grid" ? gridOf(name) : judge === undefined ? null : mapOf(name, judge);
    const half = { grid: about.limit / (GRID - 1), codes: 0 }[show] ?? about.edge / (about.map - 1);
    if (changed(`${name} background`, show, [...view.dimmed], plane.size, picture?.dataset.ready))
        plane.drawBackground(show, view.dimmed, picture, (show == "grid" ? about.limit : about.edge) + half);
}

// Returns a canvas with the decoded grid of the report's figure.
function gridOf(name) {
    return models[name].grid ??= growingGrid(about.limit, points => decode(name, points), pictures, () => update({}), `grid ${name}`);
}

// Returns a canvas with the label that a classifier gives to each place, the paler the less sure.
function mapOf(name, judge) {
    if (!later.maps) return null;
    const model = models[name], key = `map${judge}`;
    if (model[key]) return model[key];
    const canvas = model[key] = element("canvas", { width: about.map, height: about.map, "data-ready": 1 });
    const context = canvas.getContext("2d"), image = context.createImageData(about.map, about.map);
    const found = later.maps[name].subarray(judge * 2 * about.map ** 2);
    for (let i = 0; i < about.map ** 2; i++) {
        const [red, green, blue] = [1, 3, 5].map(at => parseInt(about.colours[found[2 * i]].slice(at, at + 2), 16));
        image.data.set([red, green, blue, 0.85 * found[2 * i + 1] ** 2 / 255], 4 * i);
    }
    context.putImageData(image, 0, 0);
    return canvas;
}

function renderControls() {
    applyTheme(view.theme);
    byId("linked").checked = view.linked;
    byId("number").value = view.image;
    document.querySelector(`#show [value=${view.show}]`).checked = true;
    byId("legend").textContent = `${word(`legend ${view.show.replace(/\d/, "")}`)} ${word("legend square")}`;
    pressChips(document, view.dimmed);
    for (const which of ["from", "to"]) {
        const typical = about.typical.includes(view[which].image);
        byId(which).value = typical ? view[which].image : "own";
    }
    byId("share").value = Math.round(100 * view.share);
    walker.name(byId("play"));
}

function renderImage(row) {
    if (!changed("image", row, view.language, Boolean(later.images))) return;
    const real = later.images && realImage(row);
    const show = (name, pixels, text) => {
        if (pixels) paint(byId(`image-${name}`), pixels, SIDE, SIDE);
        byId(`image-${name}`).setAttribute("aria-label", text);
        byId(`image-${name}-text`).textContent = text;
    };
    show("real", real, word("real image", row, models.ae.labels[row]));
    show("binary", real?.map(value => value >= 0.5 ? 1 : 0), word("binary"));
    for (const name of NAMES) show(name, decode(name, codeOf(name, row)), word("by", word(name)));
}

function renderWalk() {
    for (const name of NAMES) {
        const { strip, frame } = panels[name], steps = [...Array(STEPS).keys()].map(step => step / (STEPS - 1));
        if (changed(`${name} strip`, view.from, view.to)) {
            const images = decode(name, steps.flatMap(share => between(name, share)));
            steps.forEach((_, step) => paint(strip, images.subarray(step * SIDE ** 2), SIDE, SIDE, step * SIDE, 0));
        }
        const here = between(name, view.share);
        if (changed(`${name} frame`, here)) paint(frame, decode(name, here), SIDE, SIDE);
        frame.nextSibling.textContent = [placeText(here), ...opinions(name, here)].join(", ");
        [view.from, view.to].forEach((end, i) => renderEnd(panels[name].ends[i], "AB"[i], end.image));
    }
}

// Shows the real image at an end of the segment; nothing at an end that is a point.
function renderEnd(figure, end, row) {
    figure.hidden = row === undefined;
    if (figure.hidden) return;
    const [canvas, caption] = figure.children, text = word("real end", end, row, models.ae.labels[row]);
    canvas.setAttribute("aria-label", text);
    caption.textContent = text;
    if (later.images && canvas.dataset.row != row) paint(canvas, realImage(canvas.dataset.row = row), SIDE, SIDE);
}

// Puts words in place after a change of the language.
function renderWords() {
    if (!changed("words", view.language)) return;
    document.documentElement.lang = view.language;
    document.title = `${word("title")} · genmodels`;
    translate(document);
}

function save() {
    savePicture(NAMES.map(name => {
        const { plane, digit, strip, where, judges } = panels[name];
        return { title: word(name), plane, digit, strip, lines: [where, ...judges].map(line => line.textContent) };
    }), byId("stamp").textContent);
}

// --- start ---

const halves = async text => Layers.fromHalf(await Layers.unpack(text, Uint16Array));

// The first picture needs both decoders and the codes.
async function start() {
    const codes = part("codes"), labels = await Layers.unpack(part("labels"), Uint8Array);
    for (const name of NAMES)
        models[name] = { labels, codes: await halves(codes[name]), decoder: await Layers.load(part(`${name}-decoder`)) };
    readAddress();
    byId("tools").append(element("a", { href: "generative_models.html" }, say("to report")));
    buildTools(view, update, writeAddress, save), buildPlaneTools(), buildPanels(), buildImage(), buildWalk(), buildStudio();
    stampPage(part("record"), about.commit);
    await frame();
    render();
    document.documentElement.dataset.first = performance.now();  // milliseconds after the page was opened
    await frame();
    first = false;
    update({});
    addEventListener("hashchange", () => { readAddress(); update({}); });
    dark.addEventListener("change", () => update({}));
}

// The rest comes in turn, so that the page can answer in between.
async function finish() {
    const maps = part("maps");
    later.maps = { ae: await Layers.unpack(maps.ae, Uint8Array), vae: await Layers.unpack(maps.vae, Uint8Array) };
    later.images = await Layers.unpack(part("images"), Uint8Array);
    later.deviations = await halves(part("deviations"));
    update({});
    await startStudio();
    document.documentElement.dataset.ready = "";
}

const read = new Promise(resolve => document.addEventListener("DOMContentLoaded", resolve));
const begun = Promise.resolve().then(start);
Promise.all([read, begun]).then(finish);

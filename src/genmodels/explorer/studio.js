// A digit of one's own, and the conditional models. Their networks come after the first picture.
const PAD = 280, PEN = 24, CELLS = [0, 1, 2], CANVAS = 56, GAP = 4, FURTHEST = 3, studio = {};
const networks = {};  // by the name of their part of the page
let own = null;  // the user's digit: its codes {ae, vae}, and the radii of q(z|x)

// Returns standard normal numbers from a seed: the generator "mulberry32" and the method of Box and Muller.
function noise(seed, count) {
    const uniform = () => {
        seed = seed + 0x6D2B79F5 | 0;
        let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
        t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
        return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
    };
    return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}

const oneHot = (place, count) => Array.from({ length: count }, (_, i) => i == place ? 1 : 0);
const anySeed = () => Math.floor(Math.random() * 2 ** 30);

function labelChoice(id, does) {
    const labels = [...about.colours.keys()];
    return choice("label of", id, labels, labels.map(String), does);
}

function buildStudio() {
    buildDraw(), buildConditional(), buildGan();
}

async function startStudio() {
    const cvaes = Object.keys(about.cvaes).map(dims => `cvae-${dims}`);
    for (const name of ["ae-encoder", "vae-encoder", "gan-generator", ...cvaes.map(name => `${name}-decoder`)])
        networks[name] = await Layers.load(part(name));
    for (const name of cvaes) {
        const flow = part(`${name}-flow`);
        networks[`${name}-flow`] = { ...flow, networks: await Promise.all(flow.networks.map(Layers.load)) };
    }
    for (const panel of ["cvae", "gan"]) {
        networks[panel] = true;
        update({});
        await frame();
    }
}

// --- draw your own digit ---

function buildDraw() {
    const pad = studio.pad = element("canvas", { width: PAD, height: PAD, id: "pad", tabindex: 0, role: "application", "data-name": "pad",
        onpointerdown: lower, onpointermove: draw, onpointerup: lift, onpointercancel: lift, onkeydown: steer });
    studio.mark = element("div", { class: "pen", "aria-hidden": "true" });
    studio.prompt = element("div", { class: "prompt", "aria-hidden": "true", "data-word": "draw here" });
    studio.said = element("p", { role: "status" });
    studio.pen = { x: PAD / 2, y: PAD / 2, down: false };
    const shown = ["own", ...NAMES.map(name => `own-${name}`)].map(id =>
        element("figure", {}, imageCanvas(SIDE, SIDE, { id }), element("figcaption", { id: `${id}-text` })));
    byId("draw").append(element("div", { class: "figures" },
        element("div", {}, element("div", { class: "pad" }, pad, studio.mark, studio.prompt), button("clear", clear)),
        element("div", { class: "figures three" }, ...shown)), studio.said);
    clear();
}

function clear() {
    const context = studio.pad.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, PAD, PAD);
    context.lineWidth = PEN;
    context.lineCap = context.lineJoin = "round";
    own = null;
    changed("own", null);
    studio.prompt.hidden = false;
    studio.said.textContent = "";
    for (const id of ["own", "own-ae", "own-vae"]) paint(byId(id), new Float32Array(SIDE ** 2), SIDE, SIDE);
    update({});
}

function lineTo(x, y) {
    const { pen, pad } = studio, context = pad.getContext("2d");
    studio.prompt.hidden = true;
    context.beginPath();
    context.moveTo(pen.x, pen.y);
    context.lineTo(x, y);
    context.stroke();
    Object.assign(pen, { x, y });
    cancelAnimationFrame(studio.waiting);
    studio.waiting = requestAnimationFrame(recognise);
}

function place(event) {
    const { left, top, width } = studio.pad.getBoundingClientRect();
    return [(event.clientX - left) * PAD / width, (event.clientY - top) * PAD / width];
}

function lower(event) {
    event.preventDefault();
    studio.pad.setPointerCapture(event.pointerId);
    const [x, y] = place(event);
    Object.assign(studio.pen, { x, y });
    studio.drawing = true;
    lineTo(x, y);
}

function draw(event) {
    if (studio.drawing) lineTo(...place(event));
}

function lift() {
    studio.drawing = false;
}

function steer(event) {
    const step = 10, { pen } = studio;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (event.key == " ") pen.down = !pen.down;
    else if (!by) return;
    event.preventDefault();
    const [x, y] = [pen.x, pen.y].map((value, axis) => Math.min(Math.max(value + (by?.[axis] ?? 0), 0), PAD));
    if (pen.down) lineTo(x, y);
    Object.assign(pen, { x, y });
    studio.mark.style.left = `${100 * x / PAD}%`;
    studio.mark.style.top = `${100 * y / PAD}%`;
    studio.said.textContent = word("pen", word(pen.down ? "pen down" : "pen up"), Math.round(x / step), Math.round(y / step));
}

// Returns the drawing as MNIST has its digits: the longer side of the ink fills 20 pixels, its centre of mass lies in
// the middle of 28. Null without ink.
function asMnist() {
    const { data } = studio.pad.getContext("2d").getImageData(0, 0, PAD, PAD), image = new Float32Array(SIDE ** 2);
    const ink = (x, y) => 1 - data[4 * (y * PAD + x)] / 255, box = [PAD, PAD, -1, -1], sums = [0, 0, 0];
    for (let y = 0; y < PAD; y++) for (let x = 0; x < PAD; x++) if (ink(x, y) > 0) {
        box.forEach((value, i) => { box[i] = Math[i < 2 ? "min" : "max"](value, i % 2 ? y : x); });
        [1, x + 0.5, y + 0.5].forEach((value, i) => { sums[i] += value * ink(x, y); });
    }
    if (!sums[0]) return null;
    const scale = 20 / Math.max(box[2] - box[0] + 1, box[3] - box[1] + 1), parts = 3;  // parts of a pixel of the pad
    for (let y = box[1]; y <= box[3]; y++) for (let x = box[0]; x <= box[2]; x++)
        for (let i = 0; i < parts ** 2; i++) {
            const column = Math.floor((x + (i % parts + 0.5) / parts - sums[1] / sums[0]) * scale + SIDE / 2);
            const row = Math.floor((y + (Math.floor(i / parts) + 0.5) / parts - sums[2] / sums[0]) * scale + SIDE / 2);
            if (Math.min(row, column) >= 0 && Math.max(row, column) < SIDE) image[row * SIDE + column] += ink(x, y) * (scale / parts) ** 2;
        }
    return image.map(value => Math.min(value, 1));
}

function recognise() {
    const image = networks["vae-encoder"] && asMnist();
    if (!image) return;
    const ae = Layers.run(networks["ae-encoder"], [image], 1);
    const vae = Layers.run(networks["vae-encoder"], [image.map(value => value >= 0.5 ? 1 : 0)], 1);
    own = { image, ae: [...ae], vae: [...vae.subarray(0, 2)], radii: [...vae.subarray(2)].map(value => 2 * Math.exp(value / 2)) };
    update({ ae: own.ae, vae: own.vae });
}

function renderDraw() {
    if (!changed("own", own, view.language)) return;
    byId("own-text").textContent = word(own ? "yours" : "nothing");
    byId("own").setAttribute("aria-label", word(own ? "yours" : "nothing"));
    if (own) paint(byId("own"), own.image, SIDE, SIDE);
    for (const name of NAMES) {
        const text = own ? `${word("by", word(name))}, ${word("at", ...own[name].map(value => number(value, 2)))}` : word(name);
        if (own) paint(byId(`own-${name}`), decode(name, own[name]), SIDE, SIDE);
        byId(`own-${name}-text`).textContent = text;
        byId(`own-${name}`).setAttribute("aria-label", text);
    }
    if (own) studio.said.textContent = word("moved");
}

// --- conditional VAE ---

function buildConditional() {
    const cells = CELLS.flatMap(row => CELLS.map(column => [column, row]));
    const names = cells.map(([column, row]) => element("span", { class: "unseen", "data-word": "cell at", "data-values": JSON.stringify([column + 1, row + 1]) }));
    const chooser = choice("cell", "cell", cells.map(String), names, cell => update({ cell: cell.split(",").map(Number) }));
    chooser.classList.add("cells");
    studio.canvas = cellCanvas(CANVAS, "cvae-one", share => Math.round(4 * share - 1));  // the middles of the cells are at 1/4, 1/2 and 3/4
    studio.nine = cellCanvas(3 * CANVAS + 4 * GAP, "cvae-nine", share => Math.floor(3 * share));
    studio.nine.dataset.name = "nine";
    byId("cvae").append(element("div", { class: "bar" }, labelChoice("digit", label => update({ digit: label })), chooser,
        choice("dims", "dims", Object.keys(about.cvaes), Object.keys(about.cvaes), dims => update({ dims: +dims, shift: [] })),
        button("another", () => update({ hand: anySeed(), shift: [] }))),
        element("div", { class: "figures large" }, element("figure", {}, studio.canvas, element("figcaption", {}, say("one"))),
            element("figure", {}, studio.nine, element("figcaption", {}, say("nine")))),
        ...Object.keys(about.cvaes).map(dims => element("div", { "data-dims": dims }, shifters(about.cvaes[dims]), scoreTable(`cvae-${dims}`))));
}

// Returns a canvas on which a click or a drag chooses the cell, as the radio buttons do from the keyboard. `cellOf` gives
// the cell at a share of a side.
function cellCanvas(side, id, cellOf) {
    const choose = ({ target, clientX, clientY, buttons }) => {
        const { left, top, width } = target.getBoundingClientRect();
        const cell = [clientX - left, clientY - top].map(at => Math.min(Math.max(cellOf(at / width), 0), 2));
        if (buttons && String(cell) != String(view.cell)) update({ cell });
    };
    return imageCanvas(side, side, { id, onpointermove: choose, onpointerdown: event => {
        event.target.setPointerCapture(event.pointerId);
        choose(event);
    } });
}

// Sliders that move the code of the handwriting along the axes that carry most, in deviations of the codes.
function shifters({ axes, carried }) {
    const shift = (place, value) => update({ shift: axes.map((_, i) => i == place ? value : view.shift[i] ?? 0) });
    return element("fieldset", { class: "axes" }, element("legend", {}, say("shifts")), ...axes.map((axis, place) =>
        slider(element("span", {}, say("axis", axis + 1), " ", element("span", { "data-number": carried[place], "data-digits": 2, "data-deviation": "" }),
            " ", say("nats")), { "data-place": place, min: -FURTHEST, max: FURTHEST, step: 0.05 }, value => shift(place, value))));
}

// Returns the canvases of one digit and one handwriting in several cells.
function drawCells({ digit, hand, dims, shift }, cells) {
    const count = cells.length, label = oneHot(digit, 10), every = list => Float32Array.from(cells.flatMap(() => list));
    const z = Layers.fromNoise(networks[`cvae-${dims}-flow`], noise(hand, dims), Float32Array.from(label), 1), { axes, spread } = about.cvaes[dims];
    shift.forEach((by, i) => { z[axes[i]] += by * spread[i]; });
    const conditions = Float32Array.from(cells.flatMap(([column, row]) => [...label, ...oneHot(column, 3), ...oneHot(row, 3)]));
    return Layers.run(networks[`cvae-${dims}-decoder`], [every([...z]), conditions], count).map(Layers.sigmoid);
}

function renderConditional() {
    const { digit, hand, dims, shift, cell: [column, row] } = view;
    document.querySelector(`#dims [value="${dims}"]`).checked = true;
    for (const of of document.querySelectorAll("[data-dims]")) of.hidden = of.dataset.dims != dims;
    for (const input of document.querySelectorAll(`[data-dims="${dims}"] [data-place]`)) input.value = shift[input.dataset.place] ?? 0;
    document.querySelector(`#digit [value="${digit}"]`).checked = true;
    document.querySelector(`#cell [value="${column},${row}"]`).checked = true;
    studio.canvas.setAttribute("aria-label", word("canvas", digit, word("cell at", column + 1, row + 1)));
    if (!networks.cvae) return;
    const cells = CELLS.flatMap(down => CELLS.map(across => [across, down]));
    if (changed("cells", digit, hand, dims, shift)) studio.cells = drawCells(view, cells);
    if (!changed("cell", digit, hand, dims, shift, column, row)) return;
    const context = studio.nine.getContext("2d"), step = CANVAS + GAP, image = i => studio.cells.subarray(i * CANVAS ** 2);
    context.fillStyle = "#c9c9c6";  // between the canvases
    context.fillRect(0, 0, studio.nine.width, studio.nine.height);
    context.fillStyle = "#d4380d";  // around the chosen one
    context.fillRect(column * step, row * step, step + GAP, step + GAP);
    paint(studio.canvas, image(3 * row + column), CANVAS, CANVAS);
    cells.forEach(([across, down], i) => paint(studio.nine, image(i), CANVAS, CANVAS, across * step + GAP, down * step + GAP));
}

// --- conditional GAN ---

function buildGan() {
    studio.generated = imageCanvas(SIDE, SIDE, { id: "gan-one" });
    studio.sixteen = imageCanvas(4 * SIDE, 4 * SIDE, { id: "gan-sixteen" });
    byId("gan").append(element("div", { class: "bar" }, labelChoice("class", label => update({ class: label })),
        button("new noise", () => update({ noise: anySeed() })), slider(say("between"), { id: "mix", max: 100 }, value => update({ mix: value / 100 }))),
        element("div", { class: "figures large" }, ...[["generated", studio.generated], ["sixteen", studio.sixteen]].map(([name, canvas]) =>
            element("figure", {}, canvas, element("figcaption", { id: `${name}-text` })))), scoreTable("gan"));
}

// Returns images of one digit from noises, which lie one after another.
function generate(label, noises) {
    const count = noises.length / about.noise, scaled = noises.map(value => about.deviation * value);
    const labels = Float32Array.from(Array.from({ length: count }, () => oneHot(label, 10)).flat());
    return Layers.run(networks["gan-generator"], [scaled, labels], count).map(Layers.sigmoid);
}

// Returns noise on the way between two noises, of their usual length: on the arc, not on the chord.
function mixed(first, second, share) {
    const angle = share * Math.PI / 2;
    return first.map((value, i) => Math.cos(angle) * value + Math.sin(angle) * second[i]);
}

function renderGan() {
    const label = view.class, axes = about.noise;
    document.querySelector(`#class [value="${label}"]`).checked = true;
    byId("mix").value = Math.round(100 * view.mix);
    for (const [name, canvas] of [["generated", studio.generated], ["sixteen", studio.sixteen]]) {
        canvas.setAttribute("aria-label", word(name, label));
        byId(`${name}-text`).textContent = word(name, label);
    }
    if (!networks.gan) return;
    if (changed("generated", label, view.noise, view.mix))
        paint(studio.generated, generate(label, mixed(noise(view.noise, axes), noise(view.noise + 1, axes), view.mix)), SIDE, SIDE);
    if (!changed("sixteen", label, view.noise)) return;
    const images = generate(label, noise(view.noise + 2, 16 * axes));
    for (let i = 0; i < 16; i++) paint(studio.sixteen, images.subarray(i * SIDE ** 2), SIDE, SIDE, i % 4 * SIDE, (i >> 2) * SIDE);
}

function renderStudio() {
    renderDraw(), renderConditional(), renderGan();
}

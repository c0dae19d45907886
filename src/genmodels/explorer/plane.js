// Drawing: images, and the plane of codes with its point. Knows nothing of the rest of the page.

// Returns an element with attributes, listeners ("onclick") and children.
function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
        if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
        else if (value !== false) made.setAttribute(name, value === true ? "" : value);
    made.append(...children);
    return made;
}

const imageCanvas = (width, height, attributes = {}) =>
    element("canvas", { width, height, class: "digit", role: "img", ...attributes });

const GRID = 20;  // images along each side of a decoded grid
const TWICE = 400;  // milliseconds between the two clicks of a double click

// Draws an image in [0, 1] on a canvas, at (left, top): three channels as colours, of fewer the first as grey. With `ink`
// 1 is dark on white paper, as in the report.
function paint(canvas, pixels, width, height, left = 0, top = 0, { channels = 1, ink = true } = {}) {
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
        for (let part = 0; part < 3; part++) {
            const level = Math.round(255 * pixels[channels * i + (channels < 3 ? 0 : part)]);
            image.data[4 * i + part] = ink ? 255 - level : level;
        }
        image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, left, top);
}

// Returns a canvas with the decoded grid of the plane out to `limit`, which grows by a row at a time. `decode` takes the
// points of a row, one after another; `pictures` says how large images are and how to paint one.
function growingGrid(limit, decode, { width, height, look }, grown, title) {
    const canvas = element("canvas", { width: GRID * width, height: GRID * height, "data-ready": 0 });
    const value = i => limit * (2 * i / (GRID - 1) - 1), start = performance.now();
    const drawRow = row => {
        const images = decode([...Array(GRID).keys()].flatMap(column => [value(column), -value(row)])), size = images.length / GRID;
        for (let column = 0; column < GRID; column++)
            paint(canvas, images.subarray(column * size), width, height, column * width, row * height, look);
        canvas.dataset.ready = row + 1;
        if (row + 1 < GRID) setTimeout(drawRow, 0, row + 1);
        else performance.measure(title, { start });
        if ((row + 1) % 5 == 0) grown();
    };
    drawRow(0);
    return canvas;
}

// Returns where the name of each class stands: in the box with many codes of the class and few others, but apart from
// the names before it.
function namePlaces({ codes, labels }, { colours, edge }) {
    const boxes = Math.round(2 * edge / 0.4), all = new Uint32Array(boxes * boxes);
    const own = colours.map(() => new Uint32Array(boxes * boxes)), taken = [];
    const box = value => Math.min(Math.max(Math.floor((value + edge) / (2 * edge) * boxes), 0), boxes - 1);
    labels.forEach((digit, row) => {
        const at = box(codes[2 * row + 1]) * boxes + box(codes[2 * row]);
        all[at]++, own[digit][at]++;
    });
    const middle = at => ((at + 0.5) / boxes * 2 - 1) * edge;
    for (const counts of own) {
        const places = [...counts.keys()].filter(at => counts[at]).map(at => ({ x: middle(at % boxes), y: middle(Math.floor(at / boxes)),
            score: counts[at] ** 3 / all[at] ** 2 })).sort((one, other) => other.score - one.score);
        const free = ({ x, y }) => taken.every(other => Math.hypot(x - other[0], y - other[1]) > 0.55);
        const { x, y } = places.find(free) ?? places[0] ?? { x: 0, y: 0 };
        taken.push([x, y]);
    }
    return taken;
}

// One plane: a canvas with the background, one above it with marks, and a point that mouse, touch and keys move.
// `model` has the codes as a flat array; the functions of `does` are called after the user moved, picked or hovered.
class Plane {
    constructor(name, model, about, does) {
        Object.assign(this, { name, model, about, does, edge: about.edge, background: document.createElement("canvas") });
        this.marks = element("canvas", { "aria-hidden": "true" });
        this.background.setAttribute("role", "img");
        this.point = element("div", { class: "point", role: "slider", tabindex: 0, "aria-valuemin": -this.edge,
            "aria-valuemax": this.edge, onkeydown: event => this.key(event) });
        // Beside a code under the mouse; readers of the screen have the same in the section of the test image.
        this.tip = element("div", { class: "tip", "aria-hidden": "true", hidden: true });
        this.element = element("div", { class: "plane", onpointerdown: event => this.press(event),
            onpointermove: event => this.drag(event), onpointerup: () => this.release(),
            onpointercancel: () => this.release(), onpointerleave: () => does.hover(null) },
            this.background, this.marks, this.point, this.tip);
        this.places = namePlaces(model, about);
    }

    // Between plane and pixels. What lies further out stands at the plane's edge.
    pixels(value) { return (value + this.edge) / (2 * this.edge) * this.size; }
    x(value) { return Math.min(Math.max(this.pixels(value), 0), this.size); }
    y(value) { return this.x(-value); }

    z(event) {
        const { left, top } = this.element.getBoundingClientRect(), side = this.element.clientWidth;
        const clamp = value => Math.min(Math.max(value, -this.edge), this.edge);
        const share = [(event.clientX - left) / side, (event.clientY - top) / side];
        return [clamp((2 * share[0] - 1) * this.edge), clamp((1 - 2 * share[1]) * this.edge)];
    }

    press(event) {
        if (event.button > 0) return;
        event.preventDefault();  // no selection of text
        this.point.focus({ preventScroll: true, focusVisible: false });
        this.element.setPointerCapture(event.pointerId);
        const before = this.last ?? { time: -Infinity }, { clientX: x, clientY: y, timeStamp: time } = event;
        const twice = time - before.time < TWICE && Math.hypot(x - before.x, y - before.y) < 8, image = twice ? this.nearest(event) : null;
        this.pressed = { x, y, time, moved: false };
        this.does.hover(null);  // the card would cover the point
        if (image === null) this.does.move(this.z(event));
        else this.does.pick(image);
    }

    drag(event) {
        if (!this.pressed) return this.does.hover(event.pointerType == "mouse" ? this.nearest(event) : null);
        const { x, y } = this.pressed;
        this.pressed.moved ||= Math.hypot(event.clientX - x, event.clientY - y) > 3;
        if (this.pressed.moved) this.does.move(this.z(event));
    }

    release() { [this.last, this.pressed] = [this.pressed, null]; }

    key(event) {
        const step = event.shiftKey ? 0.5 : 0.05, image = event.key == "Enter" ? this.closest(this.at, Infinity) : null;
        const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowDown: [0, -step], ArrowUp: [0, step] }[event.key];
        if (image !== null) this.does.pick(image);
        else if (event.key == "Home") this.go([0, 0]);
        else if (by) this.go(this.at.map((value, axis) =>
            Math.min(Math.max(Math.round((value + by[axis]) * 100) / 100, -this.edge), this.edge)));
        else return;
        event.preventDefault();
    }

    // The next key starts from here, also if it comes before the next picture.
    go(place) {
        this.at = place;
        this.does.move(place);
    }

    // Returns the number of the image whose code is shown within a few pixels of the pointer, or null.
    nearest(event) {
        return this.closest(this.z(event), (event.pointerType == "touch" ? 10 : 5) * 2 * this.edge / this.element.clientWidth);
    }

    closest([x, y], reach) {
        if (this.show != "codes") return null;
        const { codes, labels } = this.model;
        let found = null, least = reach * reach;
        for (let row = 0; row < labels.length; row++) {
            const away = (codes[2 * row] - x) ** 2 + (codes[2 * row + 1] - y) ** 2;
            if (away < least && !this.dimmed.has(labels[row])) [found, least] = [row, away];
        }
        return found;
    }

    // Fits the canvases to the page. Returns whether their size changed.
    fit() {
        const ratio = window.devicePixelRatio || 1, size = Math.round(this.element.clientWidth * ratio);
        if (size == this.size || !size) return false;
        this.ratio = ratio;
        for (const canvas of [this.background, this.marks]) canvas.width = canvas.height = size;
        this.size = size;
        return true;
    }

    // Draws what moves seldom. `picture` is a canvas to lie over the plane out to `reach`, or null for the codes.
    drawBackground(show, dimmed, picture, reach) {
        Object.assign(this, { show, dimmed });
        const context = this.background.getContext("2d", { willReadFrequently: true }), { size } = this;
        context.fillStyle = "#ffffff";
        context.fillRect(0, 0, size, size);
        if (picture) {
            context.imageSmoothingEnabled = false;
            const corner = this.pixels(-reach), side = this.pixels(reach) - corner;
            context.drawImage(picture, corner, corner, side, side);
        } else if (show == "codes") this.drawCodes(context);
        this.drawFrame(context);
        if (show != "grid") this.drawNames(context);
    }

    // Blends each code into the pixels itself: ten thousand calls of fillRect take ten times as long.
    drawCodes(context) {
        const { codes, labels } = this.model, side = Math.max(2, Math.round(this.size / 200)), { size } = this;
        const inks = this.about.colours.map(colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16)));
        const image = context.getImageData(0, 0, size, size), { data } = image;
        const count = labels.length, stride = count % 7919 ? 7919 : 1;  // a prime: mixes the classes
        for (let i = 0, row = 0; i < count; i++, row = (row + stride) % count) {
            const dimmed = this.dimmed.has(labels[row]), alpha = dimmed ? 0.06 : 0.7;
            const ink = dimmed ? [119, 119, 119] : inks[labels[row]];
            const left = Math.round(this.x(codes[2 * row]) - side / 2), top = Math.round(this.y(codes[2 * row + 1]) - side / 2);
            for (let y = Math.max(top, 0); y < Math.min(top + side, size); y++)
                for (let x = Math.max(left, 0), at = 4 * (y * size + x); x < Math.min(left + side, size); x++, at += 4)
                    for (let part = 0; part < 3; part++) data[at + part] += alpha * (ink[part] - data[at + part]);
        }
        context.putImageData(image, 0, 0);
    }

    drawFrame(context) {
        const { limit } = this.about, { ratio } = this;
        context.strokeStyle = context.fillStyle = "#333333";
        context.lineWidth = ratio;
        context.setLineDash([5 * ratio, 4 * ratio]);
        context.strokeRect(this.x(-limit), this.y(limit), this.x(limit) - this.x(-limit), this.y(-limit) - this.y(limit));
        context.setLineDash([]);
        context.font = `${12 * ratio}px system-ui, sans-serif`;
        context.textAlign = "center";
        for (const value of [-limit, 0, limit]) {
            const text = String(value).replace("-", "−");
            context.fillText(text, this.x(value), this.size - 5 * ratio);
            if (value) context.fillText(text, 12 * ratio, this.y(value) + 4 * ratio);
        }
    }

    drawNames(context) {
        context.font = `bold ${Math.max(13 * this.ratio, this.size / 28)}px system-ui, sans-serif`;
        context.lineWidth = 4 * this.ratio;
        context.lineJoin = "round";
        context.textBaseline = "middle";
        this.about.names.forEach((name, label) => {
            const [x, y] = this.places[label];
            context.globalAlpha = this.dimmed.has(label) ? 0.25 : 1;
            context.strokeStyle = "#ffffff";
            context.strokeText(name, this.x(x), this.y(y));
            context.fillStyle = "#000000";
            context.fillText(name, this.x(x), this.y(y));
        });
        context.globalAlpha = 1;
        context.textBaseline = "alphabetic";
    }

    // Shows elements beside a code, on the side with more room; nothing without a code.
    showTip(code, ...content) {
        this.tip.hidden = !code;
        if (!code) return;
        this.tip.replaceChildren(...content);
        const [left, top] = [100 * this.x(code[0]) / this.size, 100 * this.y(code[1]) / this.size];
        Object.assign(this.tip.style, left < 50 ? { left: `${left + 3}%`, right: "auto" } : { left: "auto", right: `${103 - left}%` });
        Object.assign(this.tip.style, top < 50 ? { top: `${top + 3}%`, bottom: "auto" } : { top: "auto", bottom: `${103 - top}%` });
    }

    // Draws what moves often: the point; an image's code as a cross, with the ellipse of radii around it; a segment of two
    // ends, A and B, with a place on it.
    drawMarks(at, { code, radii, segment, place }) {
        this.at = at;
        const context = this.marks.getContext("2d"), { ratio } = this;
        context.clearRect(0, 0, this.size, this.size);
        if (segment) this.drawSegment(context, segment, place);
        const [x, y] = [this.x(code[0]), this.y(code[1])], arm = 5 * ratio;
        context.beginPath();
        for (const turn of [1, -1]) context.moveTo(x - arm, y - turn * arm), context.lineTo(x + arm, y + turn * arm);
        if (radii) {
            const [wide, tall] = radii.map(radius => radius / (2 * this.edge) * this.size);
            context.moveTo(x + wide, y);
            context.ellipse(x, y, wide, tall, 0, 0, 7);
        }
        for (const [colour, width] of [["#ffffff", 4], ["#d4380d", 2]]) {
            Object.assign(context, { strokeStyle: colour, lineWidth: width * ratio });
            context.stroke();
        }
        this.point.style.left = `${100 * this.x(at[0]) / this.size}%`;
        this.point.style.top = `${100 * this.y(at[1]) / this.size}%`;
    }

    drawSegment(context, segment, place) {
        const { ratio } = this, ends = segment.map(([x, y]) => [this.x(x), this.y(y)]);
        const [across, down] = [this.x(place[0]), this.y(place[1])];
        context.beginPath();
        ends.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x, y));
        context.moveTo(across + 3 * ratio, down);
        context.arc(across, down, 3 * ratio, 0, 7);
        context.fillStyle = "#000000";
        for (const [colour, width] of [["#ffffff", 5], ["#000000", 2]]) {
            Object.assign(context, { strokeStyle: colour, lineWidth: width * ratio });
            context.stroke();
        }
        context.fill();
        Object.assign(context, { font: `bold ${13 * ratio}px system-ui, sans-serif`, strokeStyle: "#ffffff", lineWidth: 3 * ratio });
        ends.forEach(([x, y], i) => {
            context.strokeText("AB"[i], x + 8 * ratio, y - 6 * ratio);
            context.fillText("AB"[i], x + 8 * ratio, y - 6 * ratio);
        });
    }
}

// One model with codes of any size: its plane, its axes, a test image, a way between two codes. A page and a widget show it.
const FIRST_AXES = 8;  // with a slider at once; the others are folded away
const MEANS = { sigmoid: Layers.sigmoid, continuous: Layers.continuousMean };  // of a pixel, from its logit

class Explorer {
    // Reads the parts of a model, which are values from JSON. `changed` is called after the view has changed and was drawn.
    static async open(root, { about, decoder, codes, labels }, changed) {
        return new Explorer(root, { about, changed, decoder: await Layers.load(decoder),
            codes: Layers.fromHalf(await Layers.unpack(codes, Uint16Array)), labels: await Layers.unpack(labels, Uint16Array) });
    }

    constructor(root, parts) {
        Object.assign(this, parts, { root, changedPart: memory(), hovered: null, images: null });
        const { about, labels } = this, [height, width, channels] = about.shape;
        this.pictures = { width, height, look: { channels, ink: about.ink } };
        const other = labels.findIndex(label => label != labels[0]);
        this.view = { image: 0, z: this.codeOf(0), from: 0, to: other > 0 ? other : Math.min(1, labels.length - 1), share: 0, walked: false, show: "codes", dimmed: new Set() };
        this.walker = new Walker(share => this.stand(share), () => this.update({}));
        this.build();
        new ResizeObserver(() => this.update({})).observe(this.plane.element);
    }

    // Takes what the first picture does not need: the test images, and of a VAE with two axes the deviations of q(z|x).
    async finish({ images, deviations }) {
        this.images = await Layers.unpack(images, Uint8Array);
        this.deviations = deviations && Layers.fromHalf(await Layers.unpack(deviations, Uint16Array));
        this.update({});
    }

    // Changes the view and draws it with the next frame.
    update(changes) {
        Object.assign(this.view, changes);
        if (this.waiting) return;
        this.waiting = true;
        requestAnimationFrame(() => { this.waiting = false; this.render(); });
    }

    // --- codes, and the plane through them ---

    codeOf(row) { return [...this.codes.subarray(row * this.about.axes, (row + 1) * this.about.axes)]; }

    ends() { return [this.view.from, this.view.to].map(end => Array.isArray(end) ? end : this.codeOf(end)); }

    between(share) {
        const [from, to] = this.ends();
        return from.map((value, axis) => (1 - share) * value + share * to[axis]);
    }

    // Returns the place of a code in the plane.
    flat(z) {
        const { centre, directions } = this.about;
        return directions.map(direction => direction.reduce((sum, part, axis) => sum + part * (z[axis] - centre[axis]), 0));
    }

    // Returns the code of a place in the plane; beside the plane it stays as far off as `z` is.
    deep(place, z = this.about.centre) {
        const { directions } = this.about, by = this.flat(z).map((value, i) => place[i] - value);
        return z.map((value, axis) => value + directions[0][axis] * by[0] + directions[1][axis] * by[1]);
    }

    // Returns the images of codes, one after another.
    decode(codes) {
        const { about, decoder } = this;
        return Layers.run(decoder, [Float32Array.from(codes)], codes.length / about.axes).map(MEANS[about.mean]);
    }

    paint(canvas, pixels, left = 0, top = 0) {
        const { width, height, look } = this.pictures;
        paint(canvas, pixels, width, height, left, top, look);
    }

    // --- what is on the page ---

    build() {
        const { about, root } = this;
        this.buildPlane();
        root.append(element("section", { class: "wide" }, element("h2", {}, about.name), element("p", {}, say(about.axes > 2 ? "plane of many" : "plane of two")),
            element("div", { class: "bar" }, this.chips, this.shown), element("div", { class: "pair" }, this.plane.element, element("div", {}, this.beside, this.axes))),
            this.buildImage(), this.buildWalk());
        this.chips.hidden = !about.names.length;
        translate(root);
    }

    buildPlane() {
        const { about, labels, codes } = this, places = new Float32Array(2 * labels.length);
        for (let row = 0; row < labels.length; row++) places.set(this.flat(codes.subarray(row * about.axes, (row + 1) * about.axes)), 2 * row);
        this.plane = new Plane("model", { codes: places, labels }, about, { move: place => this.update({ z: this.deep(place, this.view.z) }),
            pick: image => this.pick(image), hover: image => { if (image !== this.hovered) { this.hovered = image; this.update({}); } } });
        this.plane.background.dataset.name = "plane of";
        this.plane.point.dataset.name = "point";
        this.plane.background.dataset.values = this.plane.point.dataset.values = JSON.stringify([about.name]);
        this.chips = chips("classes", "class", about, () => this.view.dimmed, dimmed => this.update({ dimmed }));
        this.shown = choice("show", `show-${Math.random().toString(36).slice(2)}`, ["codes", "grid"], ["codes", "grid"].map(show => say(`show ${show}`)), show => this.update({ show }));
        this.digit = this.canvas(1, "drawn");
        this.where = element("p", { class: "where" });
        this.beside = element("div", { class: "beside single" }, this.digit, this.where);
        this.axes = element("div", { class: "axes" }, ...this.buildAxes());
    }

    canvas(count, name) {
        const { width, height } = this.pictures;
        return imageCanvas(count * width, height, { "data-name": name, "data-values": JSON.stringify([this.about.name]), ...(count > 1 ? { class: "digit strip" } : {}) });
    }

    // A slider for each axis of more than two, in the order of what the axes carry.
    buildAxes() {
        const { order, carried, axes, edge, variational } = this.about;
        if (axes == 2) return [];
        const made = order.map(axis => slider(element("span", {}, say("axis", axis + 1), " ",
            element("span", { "data-number": carried[axis], "data-digits": 2, "data-deviation": "" }), " ", say(variational ? "nats" : "variance")),
            { "data-axis": axis, min: -edge, max: edge, step: 0.01 }, value => this.update({ z: this.view.z.with(axis, value) })));
        const rest = made.slice(FIRST_AXES), folded = element("details", {}, element("summary", {}, say("other axes", rest.length)), ...rest);
        return [element("p", {}, say(variational ? "axes by kl" : "axes by variance")), ...made.slice(0, FIRST_AXES), ...(rest.length ? [folded] : [])];
    }

    pick(image) { this.update({ image, z: this.codeOf(image) }); }

    buildImage() {
        const { about, labels } = this, count = labels.length, next = by => () => this.pick((this.view.image + by + count) % count);
        const choose = event => event.target.value in labels ? this.pick(+event.target.value) : this.update({});
        this.number = element("input", { type: "number", min: 0, max: count - 1, onchange: choose });
        this.shownImages = Object.fromEntries(["real", ...(about.binary ? ["binary"] : []), "again"].map(name => {
            const canvas = this.canvas(1, "drawn"), text = element("figcaption");
            delete canvas.dataset.name;
            return [name, { canvas, text }];
        }));
        const figures = Object.values(this.shownImages).map(({ canvas, text }) => element("figure", {}, canvas, text));
        return element("section", {}, element("h2", {}, say("image title")), element("div", { class: "bar" }, element("label", {}, say("number"), " ", this.number),
            button("previous", next(-1)), button("next", next(1)), button("random", () => this.pick(Math.floor(Math.random() * count)))),
            element("div", { class: "figures" }, ...figures));
    }

    buildWalk() {
        this.strip = this.canvas(STEPS, "strip");
        this.frame = this.canvas(1, "frame");
        this.play = button("play", () => this.walker.toggle());
        this.share = slider(say("step"), { max: 100 }, value => { this.walker.stop(); this.stand(value / 100); });
        const end = which => element("fieldset", {}, element("legend", {}, say(which)),
            button("use image", () => this.walk({ [which]: this.view.image })), button("use point", () => this.walk({ [which]: [...this.view.z] })));
        return element("section", {}, element("h2", {}, say("way title")), element("p", {}, say("way help")),
            element("div", { class: "bar" }, end("from"), end("to")), element("div", { class: "row" }, this.strip, this.frame),
            element("div", { class: "bar" }, this.play, this.share));
    }

    walk(ends) {
        Object.assign(this.view, ends);
        this.stand(0);
    }

    stand(share) { this.update({ share, walked: true }); }

    // --- drawing ---

    render() {
        const start = performance.now();
        if (this.changedPart("words", spoken.language)) translate(this.root);
        this.plane.fit();
        if (!this.plane.size) return;
        this.renderBackground();
        this.renderPoint();
        this.renderTip();
        this.renderImage(this.hovered ?? this.view.image);
        this.renderWalk();
        pressChips(this.root, this.view.dimmed);
        this.shown.querySelector(`[value=${this.view.show}]`).checked = true;
        performance.measure("render", { start });
        this.changed(this.view);
    }

    renderBackground() {
        const { plane, about, view: { show, dimmed } } = this, half = about.limit / (GRID - 1);
        if (show == "grid") this.grid ??= growingGrid(about.limit, places => this.decodePlaces(places), this.pictures, () => this.update({}), "grid");
        if (this.changedPart("background", show, [...dimmed], plane.size, show == "grid" && this.grid.dataset.ready))
            plane.drawBackground(show, dimmed, show == "grid" ? this.grid : null, about.limit + half);
    }

    decodePlaces(places) {
        const codes = [];
        for (let at = 0; at < places.length; at += 2) codes.push(...this.deep(places.slice(at, at + 2)));
        return this.decode(codes);
    }

    // The point, the picture there and what is said of it.
    renderPoint() {
        const { plane, about, view: { z, walked, share } } = this, place = this.flat(z), row = this.hovered ?? this.view.image;
        const radii = this.deviations && [...this.deviations.subarray(2 * row, 2 * row + 2)].map(value => 2 * value);
        plane.drawMarks(place.map(value => Math.min(Math.max(value, -about.edge), about.edge)), { code: this.flat(this.codeOf(row)), radii,
            segment: walked && this.ends().map(end => this.flat(end)), place: this.flat(this.between(share)) });
        if (this.changedPart("digit", z)) this.paint(this.digit, this.decode(z));
        const text = word(about.axes > 2 ? "at plane" : "at", ...place.map(value => number(value, 2)));
        this.where.textContent = text;
        plane.point.setAttribute("aria-valuenow", place[0].toFixed(2));
        plane.point.setAttribute("aria-valuetext", text);
        for (const input of this.axes.querySelectorAll("[data-axis]")) input.value = z[input.dataset.axis];
    }

    real(row) {
        const size = this.about.shape.reduce((product, side) => product * side, 1);
        return Float32Array.from(this.images.subarray(row * size, (row + 1) * size), value => value / 255);
    }

    named(row) {
        const name = this.about.names[this.labels[row]];
        return name === undefined ? word("image", row) : word("real image", row, name);
    }

    // The image under the mouse, real and reconstructed.
    renderTip() {
        const { hovered, plane } = this;
        if (!this.changedPart("tip", hovered, spoken.language, Boolean(this.images))) return;
        if (hovered === null || !this.images) return plane.showTip(null);
        const [real, again] = [0, 1].map(() => imageCanvas(this.pictures.width, this.pictures.height));
        this.paint(real, this.real(hovered));
        this.paint(again, this.decode(this.codeOf(hovered)));
        plane.showTip(this.flat(this.codeOf(hovered)), real, again, element("span", {}, this.named(hovered)));
    }

    renderImage(row) {
        if (!this.changedPart("image", row, spoken.language, Boolean(this.images))) return;
        const show = ({ canvas, text }, pixels, said) => {
            if (pixels) this.paint(canvas, pixels);
            canvas.setAttribute("aria-label", said);
            text.textContent = said;
        };
        const real = this.images && this.real(row), { binary } = this.shownImages;
        this.number.value = row;
        show(this.shownImages.real, real, this.named(row));
        if (binary) show(binary, real?.map(value => value >= 0.5 ? 1 : 0), word("binary"));
        show(this.shownImages.again, this.decode(this.codeOf(row)), word("reconstruction"));
    }

    renderWalk() {
        const { view: { from, to, share } } = this, { width } = this.pictures;
        if (this.changedPart("strip", from, to)) {
            const images = this.decode([...Array(STEPS).keys()].flatMap(step => this.between(step / (STEPS - 1)))), size = images.length / STEPS;
            for (let step = 0; step < STEPS; step++) this.paint(this.strip, images.subarray(step * size, (step + 1) * size), step * width);
        }
        const here = this.between(share);
        if (this.changedPart("frame", here)) this.paint(this.frame, this.decode(here));
        this.share.querySelector("input").value = Math.round(100 * share);
        this.walker.name(this.play);
    }
}

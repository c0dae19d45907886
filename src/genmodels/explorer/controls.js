// Words and controls that the pages and the widget share.
const THEMES = ["auto", "light", "dark"], STEPS = 9;  // images of a strip
const quiet = matchMedia("(prefers-reduced-motion: reduce)"), dark = matchMedia("(prefers-color-scheme: dark)");
const spoken = { language: navigator.language.startsWith("pl") ? "pl" : "en" };

// Words in the chosen language; {0} and so on are filled in.
const word = (name, ...values) => WORDS[spoken.language][name].replace(/\{(\d)\}/g, (_, i) => values[i]);
const number = (value, digits) => value.toLocaleString(spoken.language, { minimumFractionDigits: digits, maximumFractionDigits: digits })
    .replace("-", "−");
const percent = share => `${number(100 * share, 0)}\u00a0%`;  // no line ends before the sign
const byId = id => document.getElementById(id);
const say = (name, ...values) => element("span", { "data-word": name, "data-values": JSON.stringify(values) });
const button = (name, does, ...values) => element("button", { type: "button", onclick: does }, say(name, ...values));

// A choice of one among several, as radio buttons.
function choice(title, id, values, texts, does) {
    return element("fieldset", { id, class: "choice" }, element("legend", {}, say(title)), ...values.map((value, i) =>
        element("label", {}, element("input", { type: "radio", name: id, value, onchange: () => does(value) }), texts[i])));
}

function slider(title, attributes, does) {
    return element("label", { class: "slider" }, title,
        element("input", { type: "range", value: 0, ...attributes, oninput: event => does(+event.target.value) }));
}

// A switch for each class: the first one used leaves its class alone, further ones add and remove classes. `title` and
// `each` name the group and a switch; `dimmed` returns the classes that are off, `change` takes them.
function chips(title, each, { names, colours }, dimmed, change) {
    const made = names.map((name, label) => {
        const mark = element("span", { class: "colour" }, name);
        mark.style.borderColor = colours[label];
        return element("button", { type: "button", class: "chip", "data-label": label, "data-name": each,
            "data-values": JSON.stringify([name]), onclick: () => change(switched(dimmed(), label, names.length)) }, mark);
    });
    return element("fieldset", {}, element("legend", {}, say(title)), ...made, button("all", () => change(new Set())));
}

function switched(dimmed, label, count) {
    if (!dimmed.size) return new Set([...Array(count).keys()].filter(other => other != label));
    const changed = new Set(dimmed);
    if (!changed.delete(label)) changed.add(label);
    return changed.size < count ? changed : new Set();
}

function pressChips(root, dimmed) {
    for (const chip of root.querySelectorAll("[data-label]")) chip.setAttribute("aria-pressed", !dimmed.has(+chip.dataset.label));
}

// Returns a function that says whether a part must be drawn anew: it remembers from what each part was made.
function memory() {
    const drawn = {};
    return (id, ...made) => {
        const key = JSON.stringify(made);
        if (drawn[id] === key) return false;
        drawn[id] = key;
        return true;
    };
}

// Fills the words in place after a change of the language.
function translate(root) {
    for (const spot of root.querySelectorAll("[data-word]"))
        spot.textContent = word(spot.dataset.word, ...JSON.parse(spot.dataset.values ?? "[]"));
    for (const spot of root.querySelectorAll("[data-name]")) {
        const values = spot.dataset.of ? [word(spot.dataset.of)] : JSON.parse(spot.dataset.values ?? "[]");
        spot.setAttribute("aria-label", word(spot.dataset.name, ...values));
    }
    for (const spot of root.querySelectorAll("[data-number]")) {
        const { number: value, digits, deviation } = spot.dataset;
        spot.textContent = number(+value, +digits) + (deviation === "" ? "" : ` ± ${number(+deviation, +digits)}`);
    }
}

// The tools of a page: language, theme, its address, a picture of it. `update` takes changes of the view.
function buildTools(view, update, writeAddress, savePicture) {
    const themes = element("select", { id: "theme", onchange: event => update({ theme: event.target.value }) },
        ...THEMES.map(theme => element("option", { value: theme, "data-word": `theme ${theme}`, "data-values": "[]" })));
    byId("tools").append(
        element("button", { type: "button", id: "language", onclick: () => update({ language: view.language == "pl" ? "en" : "pl" }) },
            say("language")),
        element("label", {}, say("theme"), " ", themes), button("copy", () => copyAddress(writeAddress)), button("save", savePicture),
        element("span", { role: "status", id: "status" }));
}

function applyTheme(theme) {
    document.documentElement.dataset.theme = theme == "auto" ? (dark.matches ? "dark" : "light") : theme;
    byId("theme").value = theme;
}

function status(name) {
    byId("status").textContent = word(name);
    setTimeout(() => { byId("status").textContent = ""; }, 3000);
}

async function copyAddress(writeAddress) {
    writeAddress();
    try {
        await navigator.clipboard.writeText(location.href);
        status("copied");
    } catch {
        status("copy failed");
    }
}

// Writes what a page was made from: the runs, of which a reader sees the commit first, or the model and data.
function stampPage(record, commit) {
    const made = Object.entries(record).filter(([name]) => /^(run|model|data) /.test(name));
    const keys = ` ${made.map(([name, key]) => `${name.replace("run ", "")} ${key}`).join(", ")}.`;
    if (commit === undefined) return byId("stamp").append(say("stamp"), keys);
    byId("stamp").append(element("p", {}, commit ? say("commit", commit) : say("changed code")),
        element("details", {}, element("summary", {}, say("keys")), keys));
}

// Lets the browser answer and draw between two long pieces of work.
const frame = () => new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)));

// Goes from 0 to 1 and back, and calls `stand` with each place. With reduced motion in steps, one a second.
class Walker {
    constructor(stand, stopped) { Object.assign(this, { stand, stopped, playing: 0 }); }

    toggle() { this.playing ? this.stop() : this.play(); }

    play() {
        const start = performance.now(), seconds = quiet.matches ? STEPS - 1 : 4;
        const go = () => {
            const turn = (performance.now() - start) / 1000 / seconds % 2, share = turn < 1 ? turn : 2 - turn;
            this.playing = quiet.matches ? setTimeout(go, 1000) : requestAnimationFrame(go);
            this.stand(quiet.matches ? Math.round(share * (STEPS - 1)) / (STEPS - 1) : share);
        };
        go();
    }

    stop() {
        cancelAnimationFrame(this.playing);
        clearTimeout(this.playing);
        this.playing = 0;
        this.stopped();
    }

    // Names a button by what it would do.
    name(control) {
        control.firstChild.dataset.word = this.playing ? "stop" : "play";
        control.firstChild.textContent = word(control.firstChild.dataset.word);
    }
}

// Saves planes, pictures and strips, one model a column, as one PNG. `lines` are texts beside the picture.
function savePicture(columns, stamp) {
    const unit = 600, gap = 24, canvas = element("canvas", { width: columns.length * (unit + gap) + gap, height: unit + 420 });
    const context = canvas.getContext("2d");
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = false;
    columns.forEach(({ title, plane, digit, strip, lines }, column) => {
        const left = gap + column * (unit + gap), [x, y] = plane.at;
        context.fillStyle = "#000000";
        context.font = "bold 24px system-ui, sans-serif";
        context.fillText(title, left, 40, unit);
        for (const layer of [plane.background, plane.marks]) context.drawImage(layer, left, 60, unit, unit);
        context.beginPath();
        context.lineWidth = 4;
        context.arc(left + unit * plane.x(x) / plane.size, 60 + unit * plane.y(y) / plane.size, 8, 0, 7);
        context.stroke();
        context.drawImage(digit, left, unit + 80, 168 * Math.min(1, digit.width / digit.height), 168 * Math.min(1, digit.height / digit.width));
        context.font = "20px system-ui, sans-serif";
        lines.forEach((line, i) => context.fillText(line, left + 190, unit + 120 + 34 * i, unit - 190));
        context.drawImage(strip, left, unit + 270, unit, Math.min(unit * strip.height / strip.width, 100));
    });
    context.font = "16px system-ui, sans-serif";
    context.fillText(stamp, gap, canvas.height - 30, canvas.width - 2 * gap);
    canvas.toBlob(blob => {
        const link = element("a", { href: URL.createObjectURL(blob), download: `${document.title}.png` });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
}

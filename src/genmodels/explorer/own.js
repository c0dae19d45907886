// The page of one's own model: what the user does, and the address that says it.
const part = id => JSON.parse(document.getElementById(id).textContent);
const page = { language: spoken.language, theme: "auto" };
let model = null;

function change(changes) {
    Object.assign(page, changes);
    spoken.language = page.language;
    document.documentElement.lang = page.language;
    document.title = `${model.about.name} · ${word("title")}`;
    translate(document);
    applyTheme(page.theme);
    model.update({});
}

const rounded = z => z.map(value => +value.toFixed(3)).join();
const asText = end => Array.isArray(end) ? `z${rounded(end)}` : String(end);

function writeAddress() {
    const { z, image, from, to, share, walked, show, dimmed } = model.view;
    const way = walked ? { from: asText(from), to: asText(to), at: share.toFixed(2) } : {};
    const fields = { lang: page.language, theme: page.theme, show, z: rounded(z), image, ...way,
        off: [...dimmed].sort((one, other) => one - other).join() };
    history.replaceState(null, "", `#${Object.entries(fields).filter(([, value]) => value !== "").map(pair => pair.join("=")).join("&")}`);
}

// Takes from the address whatever it says that can be shown.
function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1)), { view, about, labels } = model;
    const chosen = (name, among, otherwise) => among.find(each => each == given.get(name)) ?? otherwise;
    const row = text => text && text in labels ? +text : null;
    const code = text => {
        const values = (text ?? "").split(",").map(Number);
        return text && values.length == about.axes && values.every(value => Math.abs(value) <= 1e4) ? values : null;
    };
    const end = (name, otherwise) => row(given.get(name)) ?? (given.get(name)?.startsWith("z") ? code(given.get(name).slice(1)) : null) ?? otherwise;
    page.language = chosen("lang", Object.keys(WORDS), page.language);
    page.theme = chosen("theme", THEMES, page.theme);
    const image = row(given.get("image")) ?? view.image, off = (given.get("off") ?? "").split(",").filter(text => text && text in about.names);
    model.update({ image, z: code(given.get("z")) ?? model.codeOf(image), from: end("from", view.from), to: end("to", view.to), walked: given.has("from"), dimmed: new Set(off.map(Number)),
        share: Math.min(Math.max(+given.get("at") || 0, 0), 1), show: chosen("show", ["codes", "grid"], view.show) });
}

function save() {
    const { about, plane, digit, strip, where } = model;
    savePicture([{ title: about.name, plane, digit, strip, lines: [where.textContent] }], byId("stamp").textContent);
}

// The first picture needs the decoder and the codes.
async function start() {
    const parts = Object.fromEntries(["about", "decoder", "codes", "labels"].map(id => [id, part(id)]));
    model = await Explorer.open(byId("model"), parts, () => {
        clearTimeout(page.address);
        page.address = setTimeout(writeAddress, 300);
    });
    buildTools(page, change, writeAddress, save);
    stampPage(part("record"));
    readAddress();
    change({});
    model.render();
    document.documentElement.dataset.first = performance.now();  // milliseconds after the page was opened
    addEventListener("hashchange", () => { readAddress(); change({}); });
    dark.addEventListener("change", () => change({}));
}

async function finish() {
    await model.finish(part("later"));
    document.documentElement.dataset.ready = "";
}

const read = new Promise(resolve => document.addEventListener("DOMContentLoaded", resolve));
Promise.all([read, Promise.resolve().then(start)]).then(finish);

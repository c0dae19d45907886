// Checks build/site/ in headless Chromium, opened from disk, and prints each finding in a line: requests that fail or
// leave the folder, links and anchors that lead nowhere, errors of the browser, pages that scroll sideways at 360 px,
// findings of axe-core, and words that the search does not find. Ends with status 1 after any finding.
//
//     npm ci --prefix .ci && node .ci/check_site.mjs build/site [--pictures FOLDER] [--only REGEX]

import { existsSync, mkdirSync, readdirSync, realpathSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { accessibility, launch } from "./browser.mjs";

const VARIANTS = [
    { name: "wide light", width: 1280, colorScheme: "light" }, { name: "phone dark", width: 360, colorScheme: "dark" },
];
// Pages that the search must find, by the word typed.
const WORDS = {
    KL: ["api/genmodels/distributions/index", "report/generative_models", "notebooks/zadanie_2_vae"],
    "próbkowanie": ["studenci"],
};
const LIMIT = 900;  // seconds for everything

// Runs in the page: everything that it points to, as absolute addresses.
function references() {
    const found = [...document.querySelectorAll("[href], [src]")].map(node => node.href?.baseVal ?? node.href ?? node.src);
    return [[...new Set(found.filter(address => address && !/^(data|mailto):/.test(address)))],
        [...document.querySelectorAll("[id]")].map(node => node.id)];
}

function listen(page, findings) {
    page.on("request", request => {
        if (!request.url().startsWith(root) && !request.url().startsWith("data:"))
            findings.push(`request: ${request.url().slice(0, 80)}`);
    });
    page.on("requestfailed", request => findings.push(`failed: ${request.url().slice(-80)}`));
    page.on("console", message => {
        if (message.type() == "error") findings.push(`browser: ${message.text().slice(0, 160)}`);
    });
    page.on("pageerror", error => findings.push(`browser: uncaught ${String(error).slice(0, 160)}`));
}

// Returns the findings on one page in one variant.
async function look(page, url, { name, width }, findings) {
    await page.goto(url);
    if (values.pictures)
        await page.screenshot({ path: join(values.pictures, `${relative(folder, fileURLToPath(url)).replaceAll("/", "_")}-${name}.png`), fullPage: true });
    await page.evaluate(() => document.querySelectorAll("details").forEach(details => { details.open = true; }));
    const scrolls = await page.evaluate(() => document.documentElement.scrollWidth);
    if (scrolls > width) findings.push(`scrolls sideways: ${scrolls} px`);
    const found = await page.evaluate(references);
    findings.push(...await accessibility(page));
    return found;
}

// Returns the pages that the search names for a word typed into the field of the start page.
async function search(page, word) {
    await page.goto(`${root}index.html`);
    await page.locator(".search-button__button:visible").click();
    await page.locator("dialog input[type=search]").fill(word);
    await page.keyboard.press("Enter");
    await page.waitForURL(/[?]q=/);
    await page.waitForFunction(() => /Results/.test(document.querySelector("#search-results h2")?.textContent ?? ""));
    return page.evaluate(() => [...document.querySelectorAll("#search-results li a")].map(link => link.href));
}

setTimeout(() => { console.error(`not done after ${LIMIT} s`); process.exit(1); }, LIMIT * 1000).unref();
const options = { pictures: { type: "string" }, only: { type: "string" } };  // a folder for pictures; pages that match
const { values, positionals } = parseArgs({ allowPositionals: true, options });
const folder = realpathSync(positionals[0]), root = `${pathToFileURL(folder).href}/`;
if (values.pictures) mkdirSync(values.pictures, { recursive: true });
const pages = readdirSync(folder, { recursive: true }).filter(file => file.endsWith(".html") && !file.startsWith("_static"))
    .filter(file => !values.only || RegExp(values.only).test(file))
    .sort().map(file => pathToFileURL(join(folder, file)).href);
const browser = await launch();
const all = new Map();  // each finding with the pages and variants that have it
const note = (finding, where) => all.set(finding, [...all.get(finding) ?? [], where]);
const links = new Map(), anchors = new Map();
for (const variant of VARIANTS) {
    const context = await browser.newContext({
        viewport: { width: variant.width, height: 800 }, isMobile: variant.width < 500, colorScheme: variant.colorScheme,
    });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    let findings = [];
    listen(page, { push: (...found) => findings.push(...found) });
    for (const url of pages) {
        findings = [];
        const [to, ids] = await look(page, url, variant, findings);
        links.set(url, to);
        anchors.set(url, new Set(ids));
        for (const finding of new Set(findings.map(text => text.replace(/\s+/g, " "))))
            note(finding, `${relative(folder, fileURLToPath(url))} ${variant.name}`);
    }
    if (variant == VARIANTS[0]) for (const [word, wanted] of Object.entries(WORDS)) {
        findings = [];
        const found = await search(page, word);
        for (const name of wanted) if (!found.some(href => href.startsWith(`${root}${name}.html`)))
            note(`the search for ${word} does not find ${name}`, `${found.length} found`);
        console.log(`search for ${word}: ${found.length} found`);
        findings.forEach(finding => note(finding, `search for ${word}`));
    }
    await context.close();
}
await browser.close();
let count = 0;
for (const [url, to] of links) for (const link of to) {
    const [target, anchor] = link.split("#"), page = target.split("?")[0];
    if (/^https?:/.test(link)) continue;
    count += 1;
    const path = page.startsWith(root) ? fileURLToPath(page) : "";
    if (!path || !existsSync(path) || path.endsWith("/")) note(`leads nowhere: ${link}`, relative(folder, fileURLToPath(url)));
    else if (anchor && anchors.has(page) && !anchors.get(page).has(decodeURIComponent(anchor)))
        note(`no such place: ${link.slice(root.length)}`, relative(folder, fileURLToPath(url)));
}
for (const [finding, where] of all) console.log(`${finding} (${where.slice(0, 3).join(", ")}${where[3] ? ` and ${where.length - 3} more` : ""})`);
console.log(`${pages.length} pages, ${count} links inside the site: ${all.size} findings`);
process.exitCode = all.size ? 1 : 0;

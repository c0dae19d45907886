// Checks one HTML file in headless Chromium, wide and on a phone, light and dark, and prints each finding in a line:
// findings of axe-core, a page that scrolls sideways, text that is too small for a phone, in figures too, anything from
// outside the file, links that lead nowhere, errors of the browser. Ends with status 1 after any finding.
//
//     npm ci --prefix .ci && node .ci/check_html.mjs report/generative_models.html [--pictures FOLDER]

import { realpathSync } from "node:fs";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { accessibility, launch } from "./browser.mjs";

const WIDTHS = { wide: 1280, phone: 360 };
const SMALLEST = 11;  // CSS pixels of the smallest text on a phone
const LIMIT = 300;  // seconds for everything; a check takes a few

// Runs in the page, like the next two functions.
function outside() {
    const loads = /^(src|srcset|(xlink:)?href|poster|data|action|background)$/;
    const isOutside = (tag, { name, value }) => loads.test(name) && !/^(data:|#)/.test(value)
        && !(tag == "A" && /^https:/.test(value)) || name == "style" && /url\(/.test(value);
    const attributes = [...document.querySelectorAll("*")].flatMap(({ tagName, attributes }) => [...attributes]
        .filter(attribute => isOutside(tagName, attribute))
        .map(({ name, value }) => `<${tagName} ${name}="${value.slice(0, 80)}">`));
    const styles = [...document.querySelectorAll("style")].flatMap(style =>
        style.textContent.match(/@import.*|url\((?!["']?(data:|#)).*/g) ?? []);
    return [...attributes, ...styles].map(reference => `from outside: ${reference}`);
}

function deadLinks() {
    return [...document.links].filter(link => link.getAttribute("href").startsWith("#"))
        .map(link => decodeURIComponent(link.hash.slice(1))).filter(id => !document.getElementById(id))
        .map(id => `leads nowhere: #${id}`);
}

// Figures say how many points of text an inch of their width has.
function tooSmall(least) {
    const size = element => parseFloat(getComputedStyle(element).fontSize);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
    while (walker.nextNode()) {
        const { data, parentElement } = walker.currentNode;
        if (data.trim() && parentElement.getClientRects().length && size(parentElement) < least)
            found.push(`text of ${size(parentElement)} px: ${parentElement.tagName} "${data.slice(0, 40)}"`);
    }
    for (const image of document.querySelectorAll("img[data-points-per-inch]")) {
        const { width, paddingLeft, paddingRight } = getComputedStyle(image);
        const inside = parseFloat(width) - parseFloat(paddingLeft) - parseFloat(paddingRight);
        const pixels = image.dataset.pointsPerInch / 72 * inside;
        if (pixels < least) found.push(`text of ${pixels.toFixed(1)} px in the figure ${image.closest("figure").id}`);
    }
    return found;
}

// Returns a list that grows while the page lives: requests beyond the page itself, and errors of the browser.
function listen(page, url) {
    const heard = [];
    const request = asked => {
        if (asked.url() != url && !asked.url().startsWith("data:")) heard.push(`request: ${asked.url().slice(0, 80)}`);
    };
    page.on("request", request);
    page.on("websocket", request);
    page.on("console", message => {  // refusals of the page's Content-Security-Policy are errors, too
        if (message.type() == "error") heard.push(`browser: ${message.text().slice(0, 160)}`);
    });
    page.on("pageerror", error => heard.push(`browser: uncaught ${String(error).slice(0, 160)}`));
    return heard;
}

// Returns the findings in one variant.
async function look(browser, url, width, colorScheme, picture) {
    const page = await browser.newPage({ viewport: { width, height: 800 }, isMobile: width < 500, colorScheme });
    page.setDefaultTimeout(0);  // LIMIT is the only time limit
    const heard = listen(page, url);
    await page.goto(url);
    if (picture) await page.screenshot({ path: picture, fullPage: true });
    // axe skips folded parts.
    await page.evaluate(() => document.querySelectorAll("details").forEach(details => { details.open = true; }));
    const findings = [...await page.evaluate(outside), ...await page.evaluate(deadLinks)];
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    if (wide > width) findings.push(`scrolls sideways: ${wide} px`);
    if (width < 500) findings.push(...await page.evaluate(tooSmall, SMALLEST));
    findings.push(...heard);  // before axe, which may ask for style sheets itself
    findings.push(...await accessibility(page));
    await page.close();
    return new Set(findings.map(finding => finding.replace(/\s+/g, " ")));
}

setTimeout(() => { console.error(`not done after ${LIMIT} s`); process.exit(1); }, LIMIT * 1000).unref();
const options = { pictures: { type: "string" } };  // a folder for a picture of the whole page in each variant
const { values, positionals: [file] } = parseArgs({ allowPositionals: true, options });
const url = pathToFileURL(realpathSync(file)).href;
const browser = await launch();
const found = new Map();  // each finding with the variants that have it
for (const [name, width] of Object.entries(WIDTHS)) for (const scheme of ["light", "dark"]) {
    const picture = values.pictures && join(values.pictures, `${name}-${scheme}.png`);
    for (const finding of await look(browser, url, width, scheme, picture))
        found.set(finding, [...found.get(finding) ?? [], `${name} ${scheme}`]);
}
await browser.close();
for (const [finding, variants] of found) console.log(`${finding} (${variants.join(", ")})`);
console.log(`${basename(file)}: ${found.size} findings`);
process.exitCode = found.size ? 1 : 0;

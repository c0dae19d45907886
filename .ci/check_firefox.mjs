// Opens the latent explorer in a second browser, Debian's Firefox, over WebDriver BiDi, and prints each finding in a line.
//
//     node .ci/check_firefox.mjs report/explorer.html

import { realpathSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { launch } from "puppeteer-core";

const LIMIT = 300;  // seconds for everything
setTimeout(() => { console.error(`not done after ${LIMIT} s`); process.exit(1); }, LIMIT * 1000).unref();

const url = pathToFileURL(realpathSync(process.argv[2])).href, found = [], time = { timeout: 0, protocolTimeout: 0 };
const browser = await launch({ browser: "firefox", executablePath: "/usr/bin/firefox-esr", ...time });
const page = await browser.newPage();
page.on("pageerror", error => found.push(`browser: ${error}`));
page.on("console", message => message.type() == "error" && found.push(`browser: ${message.text()}`));
page.on("request", asked => asked.url().startsWith(url) || /^(data|blob):/.test(asked.url()) || found.push(`request: ${asked.url()}`));
await page.setViewport({ width: 1280, height: 900 });
await page.goto(url, { timeout: 0 });
await page.waitForSelector("html[data-ready]", time);

// Each step must change what its canvases show.
const ink = selector => page.$$eval(selector, canvases => canvases.map(canvas => canvas.toDataURL()).join());
async function changes(what, selector, does) {
    const before = await ink(selector);
    await does();
    await page.waitForFunction((selector, before) => [...document.querySelectorAll(selector)].map(canvas => canvas.toDataURL()).join() != before,
        { timeout: 10_000 }, selector, before).catch(() => found.push(`${what} changes nothing`));
}

async function drag(selector, places) {
    const element = await page.$(selector);
    await element.scrollIntoView();
    const { x, y, width, height } = await element.boundingBox(), at = ([across, down]) => [x + across * width, y + down * height];
    await page.mouse.move(...at(places[0]));
    await page.mouse.down();
    for (const place of places.slice(1)) await page.mouse.move(...at(place));
    await page.mouse.up();
}

const click = selector => page.$eval(selector, control => control.click());
await changes("a key", "#ae .beside .digit", async () => { await page.focus("#ae .point"); await page.keyboard.press("ArrowRight"); });
await changes("the dragged point", "#vae .beside .digit", () => drag("#vae .plane", [[0.2, 0.2], [0.5, 0.6], [0.7, 0.3]]));
await changes("a pair", "#walk .strip", () => click("#walk-tools button:nth-of-type(2)"));
await changes("the decoded grid", "#vae .plane canvas", () => click('#show [value="grid"]'));
await changes("a drawn digit", "#own-vae", () => drag("#pad", [[0.3, 0.2], [0.7, 0.2], [0.45, 0.85]]));
await changes("a cell", "#cvae-one", () => click('#cell [value="2,2"]'));
await changes("another dimension", "#cvae-one", () => click('#dims [value="100"]'));
await changes("a class of the GAN", "#gan-one", () => click('#class [value="4"]'));
const first = await page.$eval("html", html => Math.round(html.dataset.first));
for (const finding of found) console.log(finding);
console.log(`Firefox ${(await browser.version()).replace(/^\D*/, "")}: first picture after ${first} ms, ${found.length} findings`);
await browser.close();
process.exitCode = found.length ? 1 : 0;

// Checks the latent explorer in headless Chromium and prints each finding in a line. Called by check_explorer.py, with
// networks to run: a JSON file of cases, and one to write their outputs to. Without them it checks the page alone.
//
//     node .ci/check_explorer.mjs report/explorer.html [ASKED ANSWERED]
//
// The page: findings of axe-core, sideways scrolling and errors, wide and on a phone, light and dark; requests; every
// control by keyboard; what a link to a view brings back; how long things take.

import { readFileSync, realpathSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { accessibility, launch } from "./browser.mjs";

const LIMIT = 600;  // seconds for everything
const BATCH = 100;  // examples at a time
const SLOWEST = 20;  // milliseconds to draw both planes and digits: 50 pictures a second
const SLOWED = 4, FIRST_SLOWED = 3000;  // the same with a processor so many times slower
const BLOCKED = 100;  // milliseconds of the longest task, from the opening to the end of a drag
const FIRST = 1000, GRID = 500;  // milliseconds of the page's thread until the first picture, and for 20 x 20 images

// Runs in the page: one case on all its inputs.
async function compute([{ part: id, network, flow, decode, inputs }, batch]) {
    const given = inputs.map(text => new Float32Array(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer));
    const count = 1000, found = [];
    const loaded = decode ? null : flow ? part(flow) : await Layers.load(id ? part(id) : network);
    if (flow) loaded.networks = await Promise.all(loaded.networks.map(Layers.load));
    for (let start = 0; start < count; start += batch) {
        const rows = given.map(values => values.subarray(start * values.length / count, (start + batch) * values.length / count));
        found.push(decode ? model.decode([...rows[0]]) : flow ? Layers.fromNoise(loaded, ...rows, batch) : Layers.run(loaded, rows, batch));
    }
    const bytes = found.flatMap(values => [...new Uint8Array(values.buffer, values.byteOffset, values.byteLength)]);
    return btoa(bytes.map(byte => String.fromCharCode(byte)).join(""));
}

// Returns a page that has read everything, and a list of what went wrong in it.
async function open(browser, address, options) {
    const page = await browser.newPage(options), heard = [];
    page.setDefaultTimeout(0);  // LIMIT is the only time limit
    page.on("request", asked => {
        if (!/^(file:|data:|blob:)/.test(asked.url()) || asked.url().startsWith("file:") && !asked.url().startsWith(url)) heard.push(`request: ${asked.url()}`);
    });
    page.on("console", message => message.type() == "error" && heard.push(`browser: ${message.text().slice(0, 160)}`));
    page.on("pageerror", error => heard.push(`browser: ${String(error.stack).slice(0, 300)}`));
    await page.goto(address);
    await page.waitForSelector("html[data-ready]", { state: "attached" });
    return { page, heard };
}

async function looks(browser) {
    const findings = [];
    for (const width of [360, 1280]) for (const colorScheme of ["light", "dark"]) {
        const { page, heard } = await open(browser, url, { viewport: { width, height: 800 }, isMobile: width < 500, colorScheme });
        await page.evaluate(() => document.querySelectorAll("details").forEach(details => { details.open = true; }));
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        if (wide > width) heard.push(`scrolls sideways: ${wide} px`);
        heard.push(...await accessibility(page));
        findings.push(...heard.map(finding => `${finding} (${width} px, ${colorScheme})`));
        await page.close();
    }
    return findings;
}

// Visits every control with the Tab key and uses it with keys. Each must change the address or what its panel shows.
async function keyboard(browser) {
    const { page, heard } = await open(browser, url, { viewport: { width: 1280, height: 900 }, reducedMotion: "reduce" });
    const all = await page.evaluate(() => [...document.querySelectorAll("button, select, input, summary, a[href], [tabindex]")]
        .filter(control => (control.type != "radio" || control.checked) && !control.closest("[hidden]")).length);
    const state = () => page.evaluate(() => {
        const seen = typeof Explorer == "undefined" ? [view, own && own.ae, Boolean(walker.playing), studio.pen] : [page, model.view, Boolean(model.walker.playing)];
        return JSON.stringify([seen, [...document.querySelectorAll("details")].map(details => details.open), byId("status").textContent,
            document.activeElement.value], (name, value) => value instanceof Set ? [...value] : name == "address" ? undefined : value);
    });
    const inert = [];
    for (let place = 0; place < all; place++) {
        await page.keyboard.press("Tab");
        const control = await page.evaluate(() => {
            const { tagName, type, id, ariaLabel, textContent } = document.activeElement;
            return { tag: tagName, type, name: `${tagName} ${id || ariaLabel || textContent.trim()}`, word: document.activeElement.firstChild?.dataset?.word };
        });
        if (control.tag == "BODY" || control.tag == "A") continue;
        const keys = control.type == "radio" || control.type == "range" || control.tag == "DIV" ? ["ArrowRight"]
            : control.tag == "CANVAS" || control.tag == "SELECT" ? ["ArrowDown"]
            : control.type == "number" ? ["ArrowUp", "Enter"] : ["Space"];
        if (["save", "all", "clear"].includes(control.word)) { await page.keyboard.press("Space"); continue; }
        const before = await state();
        for (const key of keys) await page.keyboard.press(key);
        await page.waitForTimeout(60);
        if (await state() == before) inert.push(`does nothing by keyboard: ${control.name}`);
    }
    const last = await page.evaluate(() => document.activeElement.tagName);
    if (last == "BODY") inert.push(`fewer than ${all} controls by Tab`);
    await page.close();
    return [...heard, ...inert];
}

// A link to a view brings back the same view.
async function links(browser) {
    const { page, heard } = await open(browser, `${url}#lang=en&ae=1.500,-0.250&vae=0.125,2.000&image=77&from=5&to=1.000,1.000,2.000,2.000&at=0.50&off=35&show=grid&free=1`,
        { viewport: { width: 800, height: 800 } });
    const found = await page.evaluate(() => [view.language, view.ae, view.vae, view.image, view.from, view.to, view.share, [...view.dimmed], view.show, view.linked]);
    const expected = ["en", [1.5, -0.25], [0.125, 2], 77, { image: 5 }, { ae: [1, 1], vae: [2, 2] }, 0.5, [3, 5], "grid", false];
    if (JSON.stringify(found) != JSON.stringify(expected)) heard.push(`the address gave ${JSON.stringify(found)}`);
    await page.goto(`${url}#ae=nonsense&image=-3&from=99999&to=,&at=NaN&cvae=77&gan=x&show=evil&lang=xx&theme=1&off=zz`);
    await page.reload();
    await page.waitForSelector("html[data-ready]", { state: "attached" });
    await page.close();
    return heard;
}

// A finger drags the point, taps a code twice, draws a digit and chooses a cell; the mouse over a code shows its image,
// but not while it drags. Playing leaves the point alone.
async function pointers(browser) {
    const { page, heard } = await open(browser, url, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
    const expect = (fine, what) => fine || heard.push(what);
    // Sends a finger along places of an element, each in shares of its sides.
    const touch = async (selector, places, times = 1) => {
        await page.locator(selector).scrollIntoViewIfNeeded();
        const { x, y, width, height } = await page.locator(selector).boundingBox();
        const tab = await page.context().newCDPSession(page), at = ([across, down]) => [{ x: x + across * width, y: y + down * height }];
        for (let turn = 0; turn < times; turn++) {
            await tab.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: at(places[0]) });
            for (const place of places.slice(1)) await tab.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: at(place) });
            await tab.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
        }
        await page.waitForTimeout(300);
    };
    await touch("#ae .plane", [[0.05, 0.05], [0.4, 0.6], [0.75, 0.25]]);
    const [x, y] = await page.evaluate(() => view.vae);
    expect(x > 2 && y > 2, `a finger dragged the point to ${x}, ${y}`);
    const spot = await page.evaluate(() => codeOf("vae", 100).map((value, axis) => (1 + (axis ? -value : value) / about.edge) / 2));
    await page.evaluate(() => { update({ image: 0 }); });
    await touch("#vae .plane", [spot]);
    expect(await page.evaluate(() => view.image == 0 && view.ae[0] == view.vae[0]), "a tap does more than move both points");
    await page.waitForTimeout(500);  // longer than between the two taps below
    await touch("#vae .plane", [spot], 2);
    const picked = await page.evaluate(() => Math.hypot(...codeOf("vae", view.image).map((value, axis) => value - codeOf("vae", 100)[axis])));
    expect(picked < 0.4, `two taps picked a code ${picked} away`);
    await touch("#pad", [[0.3, 0.2], [0.7, 0.2], [0.45, 0.85]]);
    expect(await page.evaluate(() => own && own.vae[0] == view.vae[0]), "a digit drawn with a finger has no code");
    for (const [canvas, cell, spot] of [["#cvae-nine", "0,2", [0.1, 0.9]], ["#cvae-one", "2,0", [0.8, 0.2]]]) {
        await touch(canvas, [spot]);
        expect(await page.evaluate(() => String(view.cell)) == cell, `a tap on ${canvas} did not choose the cell ${cell}`);
    }
    await page.locator("#ae .plane").scrollIntoViewIfNeeded();
    const place = await page.evaluate(() => {
        const { left, top, width } = panels.ae.plane.element.getBoundingClientRect(), [x, y] = codeOf("ae", 100);
        return [left + width * (1 + x / about.edge) / 2, top + width * (1 - y / about.edge) / 2];
    });
    await page.mouse.move(...place);
    await page.waitForTimeout(300);
    expect(await page.locator("#ae .tip").isVisible(), "the mouse over a code shows no image");
    await page.mouse.down();
    await page.mouse.move(place[0] + 9, place[1]);
    await page.waitForTimeout(300);
    expect(!await page.locator("#ae .tip").isVisible(), "the image of a code covers the dragged point");
    await page.mouse.up();
    const still = await page.evaluate(async () => {
        const before = JSON.stringify([view.ae, view.vae]);
        walker.play();
        await new Promise(resolve => setTimeout(resolve, 300));
        walker.stop();
        return before == JSON.stringify([view.ae, view.vae]) && view.share > 0;
    });
    expect(still, "playing moves the point");
    await page.close();
    return heard;
}

// Returns the milliseconds of the thread for a picture while the point moves.
async function dragged(page, spent) {
    const before = await spent(), pictures = await page.evaluate(async () => {
        performance.clearMeasures("render");
        for (let i = 0; i < 120; i++) {
            movePoint("ae", [2 * Math.cos(i / 9), 2 * Math.sin(i / 7)]);
            await new Promise(requestAnimationFrame);
        }
        return performance.getEntriesByName("render").length;
    });
    return (await spent() - before) / pictures;
}

// Returns the longest task of the page's thread while it opens and the point is dragged, and the time of its first
// picture with a slower processor; in milliseconds of the processor.
async function waits(browser) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } }), tab = await page.context().newCDPSession(page);
    page.setDefaultTimeout(0);
    await browser.startTracing(page, { categories: ["toplevel", "disabled-by-default-devtools.timeline"] });
    await page.goto(url);
    await page.waitForSelector("html[data-ready]", { state: "attached" });
    await tab.send("Performance.enable", { timeDomain: "threadTicks" });
    const spent = async () => 1000 * (await tab.send("Performance.getMetrics")).metrics.find(({ name }) => name == "TaskDuration").value;
    await dragged(page, spent);
    const { traceEvents } = JSON.parse(await browser.stopTracing());
    const threads = new Set(traceEvents.filter(({ name, args }) => name == "thread_name" && args.name == "CrRendererMain").map(({ pid, tid }) => `${pid} ${tid}`));
    const tasks = traceEvents.filter(({ name, pid, tid, tdur }) => name.endsWith("RunTask") && tdur && threads.has(`${pid} ${tid}`));
    const longest = Math.max(...tasks.map(({ tdur }) => tdur / 1000));
    await tab.send("Emulation.setCPUThrottlingRate", { rate: SLOWED });
    await page.goto("about:blank");
    const before = await spent();
    await page.goto(url, { waitUntil: "commit" });
    await page.waitForSelector("html[data-first]", { state: "attached" });
    const slowest = await spent() - before;
    if (process.env.TASKS) console.log(tasks.map(({ tdur, ts }) => [Math.round(ts / 1000), Math.round(tdur / 1000)]).filter(([, long]) => long > 50).join(" | "));
    await page.close();
    return { longest, slowest };
}

// Times of the page's thread on the processor, which a busy machine does not change.
async function times(browser) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } }), tab = await page.context().newCDPSession(page);
    await tab.send("Performance.enable", { timeDomain: "threadTicks" });
    const spent = async () => 1000 * (await tab.send("Performance.getMetrics")).metrics.find(({ name }) => name == "TaskDuration").value;
    page.setDefaultTimeout(0);
    const firsts = [];
    for (let turn = 0; turn < 5; turn++) {
        await page.goto("about:blank");
        const before = await spent();
        await page.goto(url, { waitUntil: "commit" });
        await page.waitForSelector("html[data-first]", { state: "attached" });
        firsts.push([await page.evaluate(() => Number(document.documentElement.dataset.first)), await spent() - before]);
    }
    await page.waitForSelector("html[data-ready]", { state: "attached" });
    const median = values => [...values].sort((a, b) => a - b)[values.length >> 1];
    const drag = await dragged(page, spent);
    const { longest, slowest } = await waits(browser), grids = [];
    for (const name of ["ae", "vae"]) {
        const before = await spent();
        await page.evaluate(name => {
            for (let row = 0; row < GRID; row++) decode(name, Array.from({ length: 2 * GRID }, (_, i) => (i * 7 + row) % 9 - 4));
        }, name);
        grids.push(await spent() - before);
    }
    const [seen, first] = [0, 1].map(which => median(firsts.map(times => times[which])));
    console.log(`first picture after ${Math.round(seen)} ms, of them ${Math.round(first)} ms of this thread; dragging: `
        + `${drag.toFixed(1)} ms a picture; grids: ${grids.map(Math.round).join(" and ")} ms; `
        + `${SLOWED} times slower: first picture ${Math.round(slowest)} ms of the thread; longest task: ${Math.round(longest)} ms`);
    await page.close();
    for (const [found, most, what] of [[first, FIRST, "the first picture"], [drag, SLOWEST, "a picture under the dragged point"],
        [Math.max(...grids), GRID, "a grid"], [slowest, FIRST_SLOWED, "the first picture on a slow processor"], [longest, BLOCKED, "the longest task"]])
        if (found > most) console.log(`slow: ${what}: expected milliseconds <= ${most}, got ${Math.round(found)}`);
    return [];  // times depend on the machine: they are said, and fail nothing
}

setTimeout(() => { console.error(`not done after ${LIMIT} s`); process.exit(1); }, LIMIT * 1000).unref();
const [file, asked, answered] = process.argv.slice(2), url = pathToFileURL(realpathSync(file)).href;
const browser = await launch();
const { page } = await open(browser, url, {}), ofReport = await page.evaluate(() => typeof Explorer == "undefined");
if (asked) {
    const outputs = [];
    for (const one of JSON.parse(readFileSync(asked, "utf8"))) outputs.push(await page.evaluate(compute, [one, BATCH]));
    writeFileSync(answered, JSON.stringify(outputs));
}
await page.close();
const found = [];
for (const check of ofReport ? [times, looks, pointers, keyboard, links] : [looks, keyboard]) found.push(...await check(browser));
await browser.close();
for (const finding of found) console.log(finding);
console.log(`${file}: ${found.length} findings`);
process.exitCode = found.length ? 1 : 0;

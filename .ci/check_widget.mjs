// Shows the widget of `genmodels.explore` in a real JupyterLab, moves its point with keys and from Python, and prints each
// finding in a line. The model is untrained, because only the way between Python and the page is checked.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch } from "./browser.mjs";

const LIMIT = 300;  // seconds for everything
const CELLS = ["import numpy as np\nfrom genmodels import VAE, Dataset, explore\n"
    + "widget = explore(VAE(image_shape=(8, 8, 1), hidden_units=(16,)), Dataset.from_arrays(np.random.default_rng(0).random((50, 8, 8))))\nwidget.point = [0, 0]\nwidget",
"print(widget.point)", "widget.point = [1.25, -0.5]"];

const freePort = () => new Promise(resolve => {
    const server = createServer().listen(0, "127.0.0.1", () => { const { port } = server.address(); server.close(() => resolve(port)); });
});

const folder = mkdtempSync(join(tmpdir(), "widget-")), port = await freePort(), found = [];
const cells = CELLS.map((source, id) => ({ cell_type: "code", id: `cell-${id}`, source, metadata: {}, outputs: [], execution_count: null }));
const kernelspec = { name: "python3", display_name: "Python 3", language: "python" };
writeFileSync(join(folder, "widget.ipynb"), JSON.stringify({ cells, metadata: { kernelspec }, nbformat: 4, nbformat_minor: 5 }));
const lab = spawn(".venv/bin/python", ["-m", "jupyterlab", "--no-browser", "--allow-root", `--ServerApp.port=${port}`, "--IdentityProvider.token=",
    `--ServerApp.root_dir=${folder}`, "--ServerApp.kernel_spec_manager_class=genmodels.pipeline.kernel.OwnKernel", "--LabApp.news_url=None"], { stdio: "ignore" });
const browser = await launch();
const end = async code => { lab.kill(); await browser.close(); rmSync(folder, { recursive: true, force: true }); process.exit(code); };
setTimeout(() => { console.error(`not done after ${LIMIT} s`); end(1); }, LIMIT * 1000).unref();

const page = await browser.newPage({ viewport: { width: 1400, height: 1000 }, locale: "en" });
page.setDefaultTimeout(0);  // LIMIT is the only time limit
page.on("pageerror", error => found.push(`browser: ${String(error.stack).slice(0, 300)}`));
const address = `http://127.0.0.1:${port}/lab/tree/widget.ipynb`;
while (!await page.goto(address).catch(() => null)) await page.waitForTimeout(500);
const run = async place => { await page.locator(".jp-CodeCell .cm-content").nth(place).click(); await page.keyboard.press("Shift+Enter"); };
const says = async (selector, text) => await page.locator(selector).filter({ hasText: text }).first().waitFor({ timeout: 60_000 })
    .catch(() => found.push(`expected ${text} in ${selector}`));
await page.waitForSelector(".jp-Notebook-ExecutionIndicator[data-status=idle]", { state: "attached" });  // a kernel that still starts runs no cell
await page.waitForSelector(".jp-CodeCell .cm-content");
const shown = page.locator(".genmodels-explorer").first();
for (let turn = 0; turn < 6 && !await shown.count(); turn++) {  // JupyterLab may lose keys while it still starts
    await run(0);
    await shown.waitFor({ timeout: 25_000 }).catch(() => {});
}
await says(".genmodels-explorer .where", "z = (0.00, 0.00)");
await page.locator(".genmodels-explorer .point").focus();
for (let i = 0; i < 10; i++) await page.keyboard.press("ArrowRight");
await says(".genmodels-explorer .where", "z = (0.50, 0.00)");
await page.waitForTimeout(500);  // the point goes to Python
await run(1);
await says(".jp-OutputArea-output", "[0.5, 0.0]");
await run(2);
await says(".genmodels-explorer .where", "z = (1.25, −0.50)");
for (const finding of found) console.log(finding);
console.log(`the widget in JupyterLab: ${found.length} findings`);
await end(found.length ? 1 : 0);

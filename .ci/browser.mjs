// The browser of the checks: the system's package `chromium`, because playwright-core brings none and downloads none.

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const AXE = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars"];

export const launch = () => chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });

// Runs in the page.
async function violations() {
    const options = { preload: false };  // of style sheets, which a page opened from disk may not read
    return (await axe.run(document, options)).violations.map(({ id, help, nodes }) => {
        const where = nodes.slice(0, 3).map(node => node.target.flat());
        return `${id}: ${help}: ${where.join(" | ")}${nodes[3] ? ` | ${nodes.length - 3} more` : ""}`;
    });
}

// Returns the findings of axe-core on a page, one line each.
export async function accessibility(page) {
    await page.evaluate(AXE);
    return page.evaluate(violations);
}

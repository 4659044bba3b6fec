// Takes a picture of the live page in Chromium when all on it is made.
// Arguments: playwright-core's module, Chromium's path, and a JSON object of what to take.
import { argv } from "node:process";
import { pathToFileURL } from "node:url";

const [module, executablePath, given] = argv.slice(2);
const { link, settings, output, args } = JSON.parse(given);
const { chromium } = await import(pathToFileURL(module));
const browser = await chromium.launch({ executablePath, args });
const page = await browser.newPage({ viewport: { width: 1240, height: 760 } });
await page.goto(`${link}#${settings}`);
await page.waitForFunction(() => document.querySelector(".tile:last-child canvas.is-made"));
// again, now that nothing else runs: the times on show are those of the network alone
for (const name of ["rocket", "coffee"]) {
  await page.getByRole("button", { name }).first().click();
  await page.waitForTimeout(3000);
}
await page.screenshot({ path: output, type: "jpeg", quality: 86 });
await browser.close();

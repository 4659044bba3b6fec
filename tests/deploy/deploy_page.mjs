// Opens the page in Chromium, gives it a photograph, and writes the canvas's RGBA bytes.
// Arguments: playwright-core's module, Chromium's path, the page, the photograph, the file to write.
import { writeFileSync } from "node:fs";
import { argv, exit } from "node:process";
import { pathToFileURL } from "node:url";

const [module, executablePath, link, photo, out] = argv.slice(2);
const { chromium } = await import(pathToFileURL(module));
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--no-proxy-server"],
});
const page = await browser.newPage();
page.on("pageerror", (error) => { console.error(error.message); exit(1); });
await page.goto(link);
await page.waitForFunction(() => /ready|failed/.test(document.getElementById("now").textContent));
await page.setInputFiles("#photo", photo);
await page.waitForFunction(() => /done|failed/.test(document.getElementById("now").textContent));
console.log(await page.textContent("#now"));
const bytes = await page.evaluate(() => {
  const canvas = document.getElementById("canvas");
  return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
});
writeFileSync(out, new Uint8Array(bytes));
await browser.close();

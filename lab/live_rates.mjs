// Measures the camera of the live page in Chromium, on each engine: JSON on stdout.
// Arguments: playwright-core's module, Chromium's path, and a JSON object of what to measure.
import { argv, stdout } from "node:process";
import { pathToFileURL } from "node:url";

const [module, executablePath, given] = argv.slice(2);
const { link, size, warmUp, seconds, args } = JSON.parse(given);
const { chromium } = await import(pathToFileURL(module));
const browser = await chromium.launch({ executablePath, args });
const found = [];
for (const engine of ["server", "device"]) {
  const page = await browser.newPage();
  await page.goto(`${link}#engine=${engine}&frame=${size}&size=256`);
  // what the page does beside its picture would go on under the camera: it ends with the thumbs
  await page.waitForFunction(() => document.querySelector(".tile:last-child canvas.is-made"));
  await page.click("#camera");
  await page.waitForFunction((engine) => {
    const rate = document.querySelector(`#engine-${engine} .rate`).textContent;
    return rate.includes("frames/s");
  }, engine);
  await page.waitForTimeout(1000 * warmUp);
  const shown = await page.evaluate(async ([engine, seconds]) => {
    const card = document.getElementById(`engine-${engine}`);
    const text = (name) => card.querySelector(name).textContent;
    const shown = { rates: [], milliseconds: [], where: text(".where") };
    const end = performance.now() + 1000 * seconds;
    while (performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      shown.rates.push(parseFloat(text(".rate")) || 0); // none after a halt of two seconds
      shown.milliseconds.push(parseFloat(text(".ms")));
    }
    return shown;
  }, [engine, seconds]);
  found.push({ engine, ...shown });
  await page.close();
}
await browser.close();
stdout.write(JSON.stringify(found));

// Opens the bench page in a headless Chromium and waits until it is done.
// Arguments: playwright-core's module, Chromium's path, an empty folder for its profile, and
// further flags for Chromium. NSTC_LINK: the server's link.
import { argv, env, stderr } from "node:process";
import { pathToFileURL } from "node:url";

const [module, executablePath, profile, ...args] = argv.slice(2);
const { chromium } = await import(pathToFileURL(module));
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  ignoreHTTPSErrors: true,
  args,
});
const page = await context.newPage();
// the page says when it is over; asking it meanwhile would disturb what it times
const over = new Promise((resolve, reject) => {
  page.on("console", (said) => {
    const text = said.text();
    if (text === "nstc: done") resolve();
    else if (text.startsWith("nstc: ")) reject(new Error(text));
    else if (said.type() === "error") stderr.write(`${text}\n`);
  });
  page.on("crash", () => reject(new Error("the page crashed")));
});
await page.goto(env.NSTC_LINK);
await over;
await context.close();

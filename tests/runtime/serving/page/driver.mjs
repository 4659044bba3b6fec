// Runs steps in one Chromium: a line of JSON in for each, { script, value }, and a line out.
// Arguments: playwright-core's module, Chromium's path. A script is the body of an async function.
import { argv, stdin, stdout } from "node:process";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [module, executablePath] = argv.slice(2);
const { chromium } = await import(pathToFileURL(module));
const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--no-proxy-server",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--enable-unsafe-swiftshader",
  ],
});
const AsyncFunction = (async () => {}).constructor;
for await (const line of createInterface({ input: stdin })) {
  const { script, value, options } = JSON.parse(line);
  const context = await browser.newContext({ acceptDownloads: true, ...options });
  const said = []; // errors that the page itself did not expect
  let reply;
  try {
    const page = await context.newPage();
    page.on("pageerror", (error) => said.push(String(error)));
    page.setDefaultTimeout(300_000);
    const given = await new AsyncFunction("page", "value", "context", script)(page, value, context);
    reply = { value: given ?? null, said };
  } catch (error) {
    reply = { error: String(error?.stack ?? error), said };
  }
  await context.close();
  stdout.write(`${JSON.stringify(reply)}\n`);
}
await browser.close();

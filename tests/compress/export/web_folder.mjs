// Visits an exported page twice in Chromium, the second time when its server is gone.
// Arguments: playwright-core's module, Chromium's path, a folder for its profile, the page's link.
// Prints a line of JSON after each visit, and waits for a line of input between them.
import { once } from "node:events";
import { argv, stdin } from "node:process";
import { pathToFileURL } from "node:url";

const [module, executablePath, profile, link] = argv.slice(2);
const { chromium } = await import(pathToFileURL(module));
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--no-proxy-server", "--disable-background-networking"],
});
const elsewhere = [];
context.on("request", (request) => {
  if (!request.url().startsWith(link) && !request.url().startsWith("blob:")) elsewhere.push(request.url());
});

async function visit() {
  const page = await context.newPage();
  await page.goto(link);
  await page.waitForFunction(() => crossOriginIsolated && globalThis.kept);
  const seen = await page.evaluate(async () => {
    const kept = await globalThis.kept;
    const site = await (await fetch("site.json")).json();
    const folder = new URL(site.runtime.folder, location.href).href;
    const ort = await import(`${folder}ort.wasm.min.mjs`);
    Object.assign(ort.env.wasm, { wasmPaths: folder, numThreads: 2 });
    const [file] = site.models[0].browser;
    const session = await ort.InferenceSession.create(file.file);
    const rgb = Uint8Array.from({ length: 24 * 32 * 3 }, (_, i) => (i * 7) % 256);
    const feed = { [file.input]: new ort.Tensor(file.dtype, rgb, [1, 24, 32, 3]) };
    const output = (await session.run(feed))[file.output].data;
    const photos = await Promise.all(site.photos.map(async ({ file }) => (await fetch(file)).ok));
    return { kept, threads: ort.env.wasm.numThreads, output: [...output], photos };
  });
  console.log(JSON.stringify({ ...seen, elsewhere }));
  await page.close();
}

await visit();
await once(stdin, "data");
await visit();
await context.close();
stdin.unref();

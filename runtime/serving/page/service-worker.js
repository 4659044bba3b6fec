// Keeps an exported page: after the first visit it works offline, and its threads on any host.
// A page has threads only if two headers isolate it from others, which most static hosts don't send.

const SITE = { version: "", files: [] }; // `nstc export` fills it in: a version has its own cache

const prefix = `nstc ${registration.scope} `; // other pages of this host have caches too
const kept = prefix + SITE.version;
const addresses = new Map(
  SITE.files.map((name) => [new URL(name === "index.html" ? "./" : name, registration.scope).href, name]),
);
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

function isolated(response) {
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) if (!headers.has(name)) headers.set(name, value);
  headers.delete("Content-Encoding"); // the body is decoded by now
  headers.delete("Content-Length");
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

async function answer(address, request) {
  const cache = await caches.open(kept);
  const found = await cache.match(address);
  if (found) return found;
  const response = isolated(await fetch(request));
  if (response.status === 200) {
    const copy = response.clone();
    cache.put(address, copy).catch(() => {}); // no room: it comes from the network again
  }
  return response;
}

// All files, for visits without a network; says to the page how many are still missing.
async function keep(client) {
  const cache = await caches.open(kept);
  let missing = 0;
  for (const address of addresses.keys()) {
    try {
      if (!(await cache.match(address))) await cache.put(address, await fetched(address));
    } catch {
      missing += 1;
    }
  }
  client?.postMessage({ nstc: "kept", missing });
  return missing;
}

async function fetched(address) {
  const response = await fetch(address, { cache: "no-cache" }); // not an older version's
  if (response.status !== 200) throw new Error(`${address}: ${response.status}`);
  return isolated(response);
}

addEventListener("install", (event) => {
  // The first one starts at once, and the page asks it to keep everything. A new version takes over
  // when no page of the old one is open, so that none ever gets files of both.
  if (!registration.active) skipWaiting();
  else event.waitUntil(keep().then((missing) => {
    if (missing) throw new Error(`${missing} files are missing`); // tried again at the next visit
  }));
});

addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith(prefix) && name !== kept) await caches.delete(name);
    }
    await clients.claim();
  })());
});

addEventListener("message", (event) => {
  if (event.data?.nstc === "keep") event.waitUntil(keep(event.source));
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const address = new URL(request.url);
  address.search = address.hash = "";
  if (address.href === new URL("index.html", registration.scope).href) address.pathname = address.pathname.slice(0, -10);
  if (request.method === "GET" && addresses.has(address.href)) {
    event.respondWith(answer(address.href, request));
  }
});

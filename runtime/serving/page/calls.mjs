// Functions of a worker, called from the page: a promise for each call.

/** An error whose text is for whoever looks at the page: one line, and what to do. */
export class PageError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "PageError";
  }
}

/** What a worker's function gives, with the buffers that move to the page and are not copied. */
export class Moved {
  constructor(value, buffers) {
    this.value = value;
    this.buffers = buffers;
  }
}

/** A module worker of the page. */
export class Calls {
  #worker;
  #waiting = new Map();
  #number = 0;
  #fault = null; // why it answers no more

  /**
   * @param {string} module Its file, beside this one.
   * @param {(value: any) => void} [told] Gets what it tells of a call that goes on.
   */
  constructor(module, told = () => {}) {
    this.#worker = new Worker(new URL(module, import.meta.url), { type: "module", name: module });
    this.#worker.addEventListener("message", ({ data }) => {
      if ("told" in data) told(data.told);
      else this.#settle(data);
    });
    this.#worker.addEventListener("error", (event) => {
      this.#end(new Error(event.message || `${module} could not be started: reload the page.`));
    });
  }

  /**
   * @param {string} name Of the worker's function.
   * @param {object} [given] Its argument.
   * @param {Transferable[]} [moved] What moves to the worker and is not copied.
   */
  call(name, given, moved = []) {
    return new Promise((resolve, reject) => {
      if (this.#fault) {
        reject(this.#fault);
        return;
      }
      const number = this.#number++;
      this.#waiting.set(number, { resolve, reject });
      this.#worker.postMessage({ number, name, given }, moved);
    });
  }

  /** End the worker; calls that wait, and later ones, are refused. */
  end() {
    this.#worker.terminate();
    this.#end(new Error("the worker was ended"));
  }

  #settle({ number, value, error }) {
    const waiting = this.#waiting.get(number);
    this.#waiting.delete(number);
    if (!error) waiting?.resolve(value);
    else if (error.name === "PageError") waiting?.reject(new PageError(error.message));
    else waiting?.reject(Object.assign(new Error(error.message), { name: error.name }));
  }

  #end(error) {
    this.#fault ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** In a worker: answer calls by these functions, each of one argument. */
export function answering(functions) {
  addEventListener("message", async ({ data: { number, name, given } }) => {
    try {
      const value = await functions[name](given);
      if (value instanceof Moved) postMessage({ number, value: value.value }, value.buffers);
      else postMessage({ number, value });
    } catch (error) {
      const own = { name: error?.name ?? "Error", message: String(error?.message ?? error) };
      postMessage({ number, error: own });
    }
  });
}

/** In a worker: tell the page of a call that goes on. */
export function tell(value) {
  postMessage({ told: value });
}

/** Whether an error says that memory ran out: browsers and WebAssembly each say it otherwise. */
export function isOutOfMemory(error) {
  const text = `${error?.name} ${error?.message}`;
  return /out of memory|alloc|OOM|RangeError|memory access out of bounds|Aborted\(/i.test(text);
}

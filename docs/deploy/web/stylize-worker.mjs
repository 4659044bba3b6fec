// Stylises RGB bytes by a folder that `nstc export --format web` wrote: here "stylize", beside this file.
import * as ort from "./stylize/runtime/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./stylize/runtime/", import.meta.url).href;
const model = new URL("./stylize/models/starry-night/model.int8.onnx", import.meta.url).href;
const session = ort.InferenceSession.create(model);

addEventListener("message", async ({ data: { rgb, height, width } }) => {
  try {
    const image = new ort.Tensor("uint8", rgb, [1, height, width, 3]); // a Uint8Array
    const { stylized } = await (await session).run({ image });
    postMessage({ stylized: stylized.data }, [stylized.data.buffer]);
  } catch (error) { // the model can't be loaded, or the photograph is too large for it
    postMessage({ error: error.message });
  }
});

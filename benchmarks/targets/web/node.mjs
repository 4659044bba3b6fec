// Runs the rounds in Node. Arguments: onnxruntime-web's module. NSTC_LINK: the server's link.
import { availableParallelism } from "node:os";
import { argv, env, exit, version } from "node:process";
import { pathToFileURL } from "node:url";
import { runJob } from "./rounds.mjs";

const ort = await import(pathToFileURL(argv[2]));
const here = {
  agent: `Node.js ${version}`,
  isolated: true,
  secure: true,
  cores: availableParallelism(),
};
await runJob(ort, new URL("bench/", env.NSTC_LINK), here, () => {});
exit(0); // the runtime's worker threads would keep the process alive

// Runs the job in Node. Arguments: onnxruntime-web's module, that of the page's bench mode.
// NSTC_LINK: the server's link.
import { availableParallelism } from "node:os";
import { argv, env, exit, version } from "node:process";
import { pathToFileURL } from "node:url";

const [ort, { runJob }] = await Promise.all(argv.slice(2).map((path) => import(pathToFileURL(path))));
const here = {
  agent: `Node.js ${version}`,
  isolated: true,
  secure: true,
  cores: availableParallelism(),
};
await runJob(ort, new URL("bench/", env.NSTC_LINK), here, () => {});
exit(0); // the runtime's worker threads would keep the process alive

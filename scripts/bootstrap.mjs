/** `node scripts/bootstrap.mjs TASK [arguments]`, for the scripts in package.json. */
import { run } from "./from-source.mjs";

const [task = "", ...parameters] = process.argv.slice(2);
process.exit(await run(task, parameters));

/** `node --import` this to run TypeScript: tsx, in the main thread and (which `--import tsx` leaves out) in every worker. */
import { register } from "tsx/esm/api";

register();

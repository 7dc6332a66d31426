import { readFileSync } from "node:fs";
import mri from "mri";
import { parse } from "smol-toml";
import { pick } from "./pick.js";

const {
  _: [path = ""],
  compact,
} = mri(process.argv.slice(2), { alias: { c: "compact" }, boolean: ["compact"] });

try {
  const found = pick(parse(readFileSync(0, "utf8")), path);
  if (found === undefined) {
    throw new Error(`there is no ${path}`);
  }
  console.log(JSON.stringify(found, null, compact ? 0 : 2));
} catch (error) {
  console.error(error.message.trimEnd());
  process.exitCode = 1;
}

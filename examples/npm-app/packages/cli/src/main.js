#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { newest } from "@example/newest";
import mri from "mri";

const { _: words, prefix } = mri(process.argv.slice(2), { default: { prefix: "" } });
const [range = "*"] = words;
const found = newest(readFileSync(0, "utf8").split(/\s+/u), range);
if (found === undefined) {
  console.error(`newest: no version satisfies ${range}`);
  process.exit(1);
}
console.log(`${prefix}${found}`);

#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { wrap } from "@example/text";
import mri from "mri";

const { columns } = mri(process.argv.slice(2), { default: { columns: 72 } });
if (!Number.isInteger(columns) || columns < 1) {
  console.error("wrap: --columns must be a whole number above 0");
  process.exit(2);
}
const paragraphs = readFileSync(0, "utf8").split(/\n{2,}/u);
console.log(paragraphs.map((paragraph) => wrap(paragraph, columns).join("\n")).join("\n\n"));

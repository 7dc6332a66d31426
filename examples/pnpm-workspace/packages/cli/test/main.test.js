import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../src/main.js", import.meta.url));

function run(input, ...args) {
  return spawnSync(process.execPath, [main, ...args], { input, encoding: "utf8" });
}

test("paragraphs stay apart, each wrapped by the other workspace member", () => {
  const { stdout, status } = run("one two\nthree\n\nfour five", "--columns", "8");
  assert.equal(stdout, "one two\nthree\n\nfour\nfive\n");
  assert.equal(status, 0);
});

test("columns that are no number are refused", () => {
  const { stderr, status } = run("a", "--columns", "wide");
  assert.equal(stderr, "wrap: --columns must be a whole number above 0\n");
  assert.equal(status, 2);
});

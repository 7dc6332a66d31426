import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../src/main.js", import.meta.url));

function run(input, ...args) {
  return spawnSync(process.execPath, [main, ...args], { input, encoding: "utf8" });
}

test("the other workspace finds the newest version", () => {
  const { stdout, status } = run("1.2.0\n1.10.0\n2.0.0\n", "1.x", "--prefix", "v");
  assert.equal(stdout, "v1.10.0\n");
  assert.equal(status, 0);
});

test("no version is an error", () => {
  const { stderr, status } = run("1.2.0", "^2");
  assert.equal(stderr, "newest: no version satisfies ^2\n");
  assert.equal(status, 1);
});

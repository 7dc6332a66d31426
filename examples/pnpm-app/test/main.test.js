import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../src/main.js", import.meta.url));

function run(input, ...args) {
  return spawnSync(process.execPath, [main, ...args], { input, encoding: "utf8" });
}

test("the program reads its input and prints the most frequent words", () => {
  const { stdout, status } = run("b a b c a b", "--top", "2");
  assert.equal(stdout, "    3 b\n    2 a\n");
  assert.equal(status, 0);
});

test("counts are bold on request", () => {
  assert.equal(run("a", "--color").stdout, "\u001b[1m    1\u001b[22m a\n");
});

test("a file that is not there is an error", () => {
  const { stderr, status } = run("", "no-such-file");
  assert.match(stderr, /ENOENT/);
  assert.equal(status, 1);
});

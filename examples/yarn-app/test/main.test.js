import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../src/main.js", import.meta.url));

function run(input, ...args) {
  return spawnSync(process.execPath, [main, ...args], { input, encoding: "utf8" });
}

test("a table becomes an object", () => {
  const { stdout, status } = run('[package]\nname = "x"\nsizes = [1, 2.5]\n', "--compact");
  assert.equal(stdout, '{"package":{"name":"x","sizes":[1,2.5]}}\n');
  assert.equal(status, 0);
});

test("one value on request", () => {
  assert.equal(run("a.b = true", "a.b").stdout, "true\n");
});

test("what is no TOML, or is not there, is an error", () => {
  assert.match(run("a = ").stderr, /Invalid TOML document/);
  assert.equal(run("a = 1", "b").stderr, "there is no b\n");
  assert.equal(run("a = 1", "b").status, 1);
});

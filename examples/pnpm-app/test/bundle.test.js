import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { bundle } from "../build.js";

const directory = mkdtempSync(join(tmpdir(), "pnpm-app-"));
after(() => rmSync(directory, { recursive: true }));

test("esbuild's native binary bundles a program that runs by itself", async () => {
  const outfile = join(directory, "main.cjs");
  const { errors, warnings } = await bundle(outfile);
  assert.deepEqual([errors, warnings], [[], []]);
  assert.ok(statSync(outfile).size < 20_000);

  const { stdout, status } = spawnSync(process.execPath, [outfile], {
    cwd: directory,
    input: "one two two",
    encoding: "utf8",
  });
  assert.equal(stdout, "    2 two\n    1 one\n");
  assert.equal(status, 0);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { newest } from "@example/newest";

test("the newest version is not the last in the alphabet", () => {
  assert.equal(newest(["1.9.0", "1.10.0", "2.0.0"], "^1.2"), "1.10.0");
});

test("what is no version is passed over", () => {
  assert.equal(newest(["latest", "1.0.0", ""], "*"), "1.0.0");
});

test("a range that nothing satisfies", () => {
  assert.equal(newest(["1.0.0"], ">=2"), undefined);
});

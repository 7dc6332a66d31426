import assert from "node:assert/strict";
import { test } from "node:test";
import { pick } from "../src/pick.js";

const VALUE = { package: { name: "x", authors: ["a", "b"] }, empty: {} };

test("a path leads through objects and lists", () => {
  assert.equal(pick(VALUE, "package.authors.1"), "b");
  assert.equal(pick(VALUE, "package.name"), "x");
});

test("the empty path is the whole", () => {
  assert.equal(pick(VALUE, ""), VALUE);
});

test("what is not there, or only inherited, is undefined", () => {
  assert.equal(pick(VALUE, "package.name.length"), undefined);
  assert.equal(pick(VALUE, "empty.toString"), undefined);
});

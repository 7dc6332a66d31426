import assert from "node:assert/strict";
import { test } from "node:test";
import { wrap } from "../src/wrap.js";

test("lines are as long as the columns allow", () => {
  assert.deepEqual(wrap("to be or  not\nto be", 5), ["to be", "or", "not", "to be"]);
});

test("wide characters take two columns", () => {
  assert.deepEqual(wrap("日本 語", 5), ["日本", "語"]);
  assert.deepEqual(wrap("日本 語", 7), ["日本 語"]);
});

test("a word longer than a line stands alone; no words make no line", () => {
  assert.deepEqual(wrap("a incomprehensible b", 4), ["a", "incomprehensible", "b"]);
  assert.deepEqual(wrap("  ", 4), []);
});

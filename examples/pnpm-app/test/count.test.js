import assert from "node:assert/strict";
import { test } from "node:test";
import { countWords } from "../src/count.js";

test("words are counted without regard to case, the most frequent first", () => {
  assert.deepEqual(countWords("The cat and the hat and the bat"), [
    ["the", 3],
    ["and", 2],
    ["bat", 1],
    ["cat", 1],
    ["hat", 1],
  ]);
});

test("letters beyond ASCII, apostrophes and hyphens belong to a word", () => {
  assert.deepEqual(countWords("Élan, l'été – état-major!"), [
    ["l'été", 1],
    ["élan", 1],
    ["état-major", 1],
  ]);
});

test("a text without words has none", () => {
  assert.deepEqual(countWords(" … \n"), []);
});

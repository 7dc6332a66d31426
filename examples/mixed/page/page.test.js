import assert from "node:assert/strict";
import { test } from "node:test";

import { page } from "./page.js";

test("a frequent word is large", () => {
  const html = page([["ship", 2], ["sea", 1]]);
  assert.match(html, /<li style="font-size: 150%">ship<\/li>\n<li style="font-size: 100%">sea/);
});

test("a word is no markup", () => {
  assert.match(page([["<b>", 1]]), />&lt;b&gt;</);
});

test("no words are no error", () => {
  assert.match(page([]), /<ul>\n<\/ul>/);
});

import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

import { escape } from "html-escaper";

/** A list of words, each as large as it is frequent. */
export function page(words) {
  const most = Math.max(1, ...words.map(([, count]) => count));
  const items = words.map(
    ([word, count]) =>
      `<li style="font-size: ${(50 + (100 * count) / most).toFixed()}%">${escape(word)}</li>\n`,
  );
  return `<!doctype html>\n<meta charset="utf-8">\n<ul>\n${items.join("")}</ul>\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(page(JSON.parse(await text(process.stdin))));
}

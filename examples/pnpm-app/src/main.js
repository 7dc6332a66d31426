import { readFileSync } from "node:fs";
import kleur from "kleur";
import mri from "mri";
import { countWords } from "./count.js";

const options = mri(process.argv.slice(2), {
  alias: { n: "top" },
  boolean: ["color"],
  default: { color: false, top: 10 },
});
kleur.enabled = options.color;

const text = readFileSync(options._[0] ?? 0, "utf8");
for (const [word, count] of countWords(text).slice(0, options.top)) {
  console.log(`${kleur.bold(String(count).padStart(5))} ${word}`);
}

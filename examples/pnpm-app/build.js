import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** Bundle the program and its dependencies into one file. */
export async function bundle(outfile) {
  return build({
    entryPoints: [fileURLToPath(new URL("src/main.js", import.meta.url))],
    outfile,
    bundle: true,
    format: "cjs",
    minify: true,
    platform: "node",
    target: "node20",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundle(process.argv[2] ?? "dist/main.cjs");
}

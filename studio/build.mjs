// Builds the page into foleyflow/studio/page/, from where the server serves it.
//
//   node build.mjs [--watch] [--into FOLDER]

import { cp, mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as esbuild from "esbuild";

const { values } = parseArgs({
  options: {
    watch: { type: "boolean", default: false },
    into: {
      type: "string",
      default: fileURLToPath(new URL("../foleyflow/studio/page", import.meta.url)),
    },
  },
});

await rm(values.into, { recursive: true, force: true });
await mkdir(values.into, { recursive: true });
const root = fileURLToPath(new URL(".", import.meta.url));
await cp(`${root}/static`, values.into, { recursive: true });
const options = {
  absWorkingDir: root,
  entryPoints: { studio: "src/main.ts", style: "src/style/page.css" },
  outdir: values.into,
  bundle: true,
  minify: !values.watch,
  format: "esm",
  target: ["chrome109", "firefox115", "safari16.4"],
  legalComments: "none",
  logLevel: "warning",
};
if (values.watch) {
  const context = await esbuild.context(options);
  await context.watch();
} else {
  await esbuild.build(options);
}

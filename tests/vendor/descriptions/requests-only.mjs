// Reduces an OpenAPI description to what requests are judged by: operations with their parameters and
// bodies, and the schemas that these refer to. The rest is nine tenths of it, and is read by every test.
//
// Usage: node requests-only.mjs DESCRIPTION >REDUCED
import { readFileSync } from "node:fs";

const { openapi, info, paths, components } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const methods = ["get", "post", "put", "patch", "delete"];
const only = (object, keys) => Object.fromEntries(keys.filter((key) => key in object).map((key) => [key, object[key]]));

const reduced = { openapi, info, paths: {}, components: { parameters: components.parameters, schemas: {} } };
for (const [path, item] of Object.entries(paths)) {
  reduced.paths[path] = only(item, ["parameters"]);
  for (const method of methods.filter((method) => method in item)) {
    reduced.paths[path][method] = only(item[method], ["operationId", "parameters", "requestBody"]);
  }
}

const open = [reduced];
for (let part = open.pop(); part !== undefined; part = open.pop()) {
  for (const [, name] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
    if (name in reduced.components.schemas) continue;
    reduced.components.schemas[name] = components.schemas[name];
    open.push(components.schemas[name]);
  }
}
process.stdout.write(JSON.stringify(reduced));

// Follow a stream with run-stream.js and write each call of a handler as a line of JSON: [handler, ...values].
//     node follow.mjs MODULE URL [OPTIONS]
const [module, url, options = "{}"] = process.argv.slice(2);
const { RunStream } = await import(module);
const handlers = Object.fromEntries(
  ["onEvent", "onGap", "onLife", "onEnd", "onGone", "onState"].map((name) => [
    name,
    (...values) => console.log(JSON.stringify([name, ...values])),
  ]),
);
new RunStream(url, { ...handlers, ...JSON.parse(options) });

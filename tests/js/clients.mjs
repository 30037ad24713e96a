// Follow a stream to its end with a client that people use, and write each event as a line of JSON: [id, name, data].
//     node clients.mjs CLIENT URL
const [client, url] = process.argv.slice(2);

function take(id, name, data) {
  console.log(JSON.stringify([id ?? "", name || "message", JSON.parse(data)]));
  return name === "complete";
}

const follow = {
  async eventsource() {
    const { EventSource } = await import("eventsource");
    const source = new EventSource(url);
    const listen = (event) => take(event.lastEventId, event.type, event.data) && source.close();
    for (const name of ["message", "gap", "complete", "page"]) source.addEventListener(name, listen);
  },

  async "eventsource-client"() {
    const { createEventSource } = await import("eventsource-client");
    const source = createEventSource({ url });
    for await (const { id, event, data } of source) {
      if (take(id, event, data)) return source.close();
    }
  },

  async "eventsource-parser"() {
    const { EventSourceParserStream } = await import("eventsource-parser/stream");
    let last = "";
    for (let ended = false; !ended; ) {
      try {
        const response = await fetch(url, { headers: last ? { "Last-Event-ID": last } : {} });
        if (!response.ok) throw new Error(`HTTP ${response.status}`);
        const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
        for await (const { id, event, data } of events) {
          last = id ?? last;
          ended = take(id, event, data);
        }
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  },

  async "fetch-event-source"() {
    // It asks whether its page is hidden.
    globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
    globalThis.window = globalThis;
    // Its ES modules name files without their endings, which Node does not resolve.
    const { createRequire } = await import("node:module");
    const { fetchEventSource } = createRequire(import.meta.url)("@microsoft/fetch-event-source");
    let ended = false;
    await fetchEventSource(url, {
      // By default any answer that is no stream is an end.
      async onopen(response) {
        if (!response.ok) throw new Error(`HTTP ${response.status}`);
      },
      onmessage({ id, event, data }) {
        // It makes an event of `retry:` and of heartbeats too, with no data.
        if (data) ended = take(id, event, data) || ended;
      },
      onclose() {
        if (!ended) throw new Error("the stream stopped");
      },
      onerror: () => 20,
    });
  },
};

await follow[client]();

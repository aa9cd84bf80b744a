// Reads server-sent events from a text that grows.

/** A reader: feed it what has come, and it calls `on` with each event's JSON, once it is whole. */
export function eventReader(on) {
  let rest = "";
  return (text) => {
    const frames = (rest + text).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const data = frame.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data) on(data === "[DONE]" ? { type: "[DONE]" } : JSON.parse(data));
    }
  };
}

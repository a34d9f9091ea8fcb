// labd's event stream, read with fetch.
//
// Why not EventSource: it hides the comments by which labd shows in quiet times that it is there, the number from which
// the stream goes on, and that a session has ended; without them a page cannot say how old its news are.

const KEEPALIVE_S = 4;
const RETRY_MS = [300, 700, 1500, 3000];

export class EventStream {
  /** `heard()` for every sign of life, `event(it)`, `opened(from, resumed)`, `closed(why)`, `refused(status)`. */
  constructor(hooks) {
    this.hooks = hooks;
    this.cursor = null;
    this.failures = 0;
    this.stopper = null;
  }

  /** Open it and keep it open; a second call does nothing. */
  start() {
    if (this.stopper) return;
    this.stopper = new AbortController();
    this.run(this.stopper.signal);
  }

  /** End it; `start` goes on behind the last event that was seen. */
  stop() {
    this.stopper?.abort();
    this.stopper = null;
  }

  /** Try again now instead of after the pause. */
  hurry() {
    this.wake?.();
  }

  async run(signal) {
    while (!signal.aborted) {
      try {
        await this.once(signal);
        this.hooks.closed("labd ended the stream");
      } catch (fault) {
        if (signal.aborted) return;
        this.hooks.closed(fault.message);
      }
      const pause = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
      this.failures += 1;
      await new Promise((resolve) => { this.wake = resolve; setTimeout(resolve, pause); });
    }
  }

  async once(signal) {
    const headers = { Accept: "text/event-stream" };
    if (this.cursor !== null) headers["Last-Event-ID"] = String(this.cursor);
    const response = await fetch(`/api/v1/events?keepalive_s=${KEEPALIVE_S}`, { headers, signal, cache: "no-store", credentials: "same-origin" });
    if (!response.ok) {
      if (response.status === 401 || response.status === 403) {
        this.stop();
        this.hooks.refused(response.status);
      }
      throw new Error(`labd answers ${response.status}`);
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.hooks.heard();
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) this.take(frame);
    }
  }

  take(frame) {
    for (const line of frame.split("\n")) {
      if (line.startsWith(": from ")) {
        const from = Number(line.slice(7));
        const resumed = this.cursor !== null;
        // A lower number than ours: another store (a backup was put back); what is shown is of the old one.
        this.cursor = from;
        this.failures = 0;
        this.hooks.opened(from, resumed);
      } else if (line.startsWith("data: ")) {
        const event = JSON.parse(line.slice(6));
        this.cursor = event.seq;
        this.hooks.event(event);
      }
    }
  }
}

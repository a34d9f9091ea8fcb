// The states of jobs: which are an end, and which one an event leads to.

export const ENDED = new Set(["succeeded", "failed", "cancelled", "interrupted"]);

const OTHERS = {
  "job.submitted": "queued", "job.started": "running", "job.resumed": "running", "job.waiting": "waiting", "job.cancelling": "cancelling",
  "job.retrying": "queued", "job.requeued": "queued", "job.retried": "queued", "job.released": "queued", "job.held": "queued",
};

/** The state that a job is in after an event of this kind, undefined where the event changes none. */
export function stateAfter(kind) {
  const end = kind.replace("job.", "");
  return ENDED.has(end) ? end : OTHERS[kind];
}

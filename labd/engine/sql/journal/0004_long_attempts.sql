-- Jobs whose attempts may reach over a whole window of the timeline without an event in it. Shorter ones are found by
-- their start, which lies at most so long before the window; so only few rows pay for this.

CREATE INDEX jobs_long ON jobs (finished_at, created_at) WHERE finished_at > started_at + 10 OR attempt > 1;

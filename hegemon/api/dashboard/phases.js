// Where the time of a job went: its life cut into phases, of which the time line and the ledger are drawn.
import {millis} from './format.js';

export const PHASES = {
  later: ['scheduled', 'until it was due'],
  wait: ['waiting', 'for a free slot'],
  run: ['running', 'in its handler'],
  backoff: ['backing off', 'between tries'],
  failover: ['failing over', 'its worker was lost'],
  bad: ['ended', 'until it was put back'],
};
const LOST = new Set(['worker_died', 'node_lost', 'worker_killed', 'crashed']);
const FINAL = new Set(['completed', 'cancelled', 'expired']);

/** The phases of a job in their order: [{phase, from, to, attempt}], attempt being an index into `rows`. `rows` has one
 * entry for each try, and one for what goes on now: {label, outcome, error, node, worker}. */
export function phases(job, now) {
  const parts = [], rows = [];
  const created = millis(job.created_at);
  const due = millis(job.scheduled_at);
  let at = created;
  const add = (phase, to, from = at) => { if (to > from || (phase === 'run' && to === from)) parts.push({phase, from, to, attempt: rows.length}); at = Math.max(at, to); };
  const first = millis(job.history[0]?.started_at ?? job.started_at);
  if (due > created && (!Number.isFinite(first) || due <= first)) add('later', Math.min(due, now));
  let after = 'wait';
  for (const attempt of job.history) {
    const start = millis(attempt.started_at), end = millis(attempt.ended_at);
    const lost = LOST.has(attempt.outcome);
    if (Number.isFinite(start)) add(after, start);
    if (Number.isFinite(end)) add(lost && !Number.isFinite(start) ? 'failover' : Number.isFinite(start) ? 'run' : after, end);
    rows.push({label: `Try ${attempt.attempt}`, ...attempt});
    after = lost ? 'failover' : FINAL.has(attempt.outcome) ? 'bad' : 'backoff';
  }
  const live = ['scheduled', 'pending', 'running', 'retrying'].includes(job.status);
  if (live) {
    const start = millis(job.started_at);
    if (job.status === 'running' && start >= at) { add(after, start); add('run', now); }
    else add(job.status === 'running' ? 'run' : job.status === 'retrying' ? 'backoff' : job.status === 'scheduled' ? 'later' : after === 'bad' ? 'wait' : after, now);
    rows.push({label: 'Now', outcome: job.status, node: job.status === 'running' ? job.node : null});
  }
  return {parts, rows, from: created, to: Math.max(at, created + 1)};
}

/** One sentence: why the job is where it is. `stats` and `workers` may be missing. */
export function explain(job, {stats, workers, ago, now}) {
  const due = millis(job.scheduled_at);
  const last = job.history.at(-1);
  const parked = stats?.queue.parked[job.type];
  switch (job.status) {
    case 'scheduled': return due > now ? `It is due ${ago(now - due)}.` : 'It is due, and goes to its queue now.';
    case 'pending':
      if (parked) return `It waits for a worker that handles ${job.type}: none does now.`;
      if (workers && !workers.some((worker) => worker.types.includes(job.type))) return `No worker of the cluster handles ${job.type}.`;
      if (last && LOST.has(last.outcome)) return 'Its worker was lost; it runs again elsewhere.';
      return 'It waits for a free slot, behind jobs of higher priority and older ones of its own.';
    case 'running': return job.node ? `It runs on ${job.node}.` : 'It runs.';
    case 'retrying': return `It failed ${job.failures === 1 ? 'once' : `${job.failures} times`} and is tried again${due > now ? ` ${ago(now - due)}` : ''}.`;
    case 'completed': return 'It has completed.';
    case 'cancelled': return 'It was cancelled. It can be run again.';
    default:
      if (job.crashes && job.error?.type === 'Quarantined') return 'It is quarantined: it ended its workers too often.';
      return `${({rejected: 'Its handler rejected it', timeout: 'It ran longer than it may', expired: 'It expired before it could start', crashed: 'It ended its worker', worker_died: 'It ended its worker'})[last?.outcome] ?? 'Its tries are used up'}. It is among the dead letters.`;
  }
}

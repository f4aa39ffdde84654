// Acting on many jobs: on those that are selected, or on all that match; always counted before, and told after.
import {post, remove} from './api.js';
import {complain, confirm, each, toast} from './feedback.js';
import {matching} from './figures.js';
import {plural} from './format.js';
import {refresh} from './live.js';

export const MATCHING_MAX = 5000;
const LIVE = ['scheduled', 'pending', 'running', 'retrying'];
const ENDED = ['completed', 'failed', 'cancelled'];

/** What can be done to jobs of which states. */
export const ACTS = {
  cancel: {verb: 'Cancel', does: 'cancelled', from: LIVE, work: (id) => post(`/jobs/${encodeURIComponent(id)}/cancel`), danger: true,
    means: 'A running one is told to stop. A cancelled job can be run again later.'},
  retry: {verb: 'Retry', does: 'put back', from: ['failed', 'cancelled'], work: (id) => post(`/jobs/${encodeURIComponent(id)}/retry`), means: 'It runs again with fresh tries.'},
  remove: {verb: 'Remove', does: 'removed', from: ENDED, work: (id) => remove(`/jobs/${encodeURIComponent(id)}`), danger: true, means: 'This cannot be undone.'},
};

export const applies = (name, status) => ACTS[name].from.includes(status);

/** Ask, do, tell. `jobs` is a list of {id, status}, or a promise of {jobs, more}; `before()` is called between asking and
 * doing. True when something was done. */
export async function act(name, jobs, before) {
  const {verb, does, work, danger, means} = ACTS[name];
  let fit = [];
  const counting = Promise.resolve(jobs).then((given) => {
    const {jobs: all, more} = Array.isArray(given) ? {jobs: given, more: false} : given;
    fit = all.filter((job) => applies(name, job.status));
    const rest = all.length - fit.length;
    const which = more ? `More than ${plural(all.length, 'job')} match; these are the newest of them. ` : '';
    return {
      text: fit.length ? `${which}${plural(fit.length, 'job')} will be ${does}${rest ? `; ${plural(rest, 'other')} cannot be, in the state that they are in` : ''}. ${means}`
        : `None of ${plural(all.length, 'job')} can be ${does} in the state that ${all.length === 1 ? 'it is' : 'they are'} in.`,
      label: `${verb} ${plural(fit.length, 'job')}`, none: !fit.length,
    };
  });
  counting.catch(() => {});
  if (!await confirm(`${verb} jobs`, {action: verb, danger, counting})) return false;
  before?.();
  if (fit.length === 1) {
    try { await work(fit[0].id); } catch (error) { complain(error); await refresh(); return false; }
    toast(`The job was ${does}`, {kind: 'ok'});
  } else {
    const {done, failed, stopped, error} = await each(`${verb} ${plural(fit.length, 'job')}`, fit, ({id}) => work(id));
    toast(`${plural(done, 'job')} ${done === 1 ? 'was' : 'were'} ${does}`, {kind: failed ? 'warn' : 'ok', detail: [failed && `${failed} refused: ${error.message}`, stopped && 'Stopped before the end.'].filter(Boolean).join(' ')});
  }
  await refresh();
  return true;
}

/** The same for every job that `query` finds, as far as MATCHING_MAX. */
export const actOnMatching = (name, query) => act(name, matching('/jobs', query, {max: MATCHING_MAX}));

// Dead letters, grouped by what they died of: look at one, put back or remove a group, or all of them.
import {get, may, post} from '../api.js';
import {h, icon, redraw} from '../dom.js';
import {complain, confirm, problem, toast} from '../feedback.js';
import {matching, onFigures} from '../figures.js';
import {met, remember, textFilter} from '../filters.js';
import {count, millis, plural, tail, when} from '../format.js';
import {list} from '../list.js';
import {href, jobAddress, setQuery} from '../router.js';
import {knownTypes} from '../submit.js';

const PAGES = 5, PER_PAGE = 200;
const COUNT_MAX = 5000;

/** What two errors have in common when only their figures differ. */
export const shape = (text) => String(text ?? '').replace(/[0-9a-f]{8}-[0-9a-f-]{27}/gi, '…').replace(/0x[0-9a-f]+|\d+(\.\d+)?/gi, '#').slice(0, 300);

export function group(jobs) {
  const groups = new Map();
  for (const job of jobs) {
    const name = `${job.type}\n${job.error?.type ?? ''}\n${shape(job.error?.message)}`;
    const one = groups.get(name) ?? {name, type: job.type, kind: job.error?.type ?? 'unknown', message: job.error?.message ?? '', queues: new Set(), jobs: [], latest: 0};
    one.jobs.push(job);
    one.queues.add(job.queue);
    one.latest = Math.max(one.latest, millis(job.completed_at ?? job.updated_at));
    groups.set(name, one);
  }
  return [...groups.values()].sort((a, b) => b.jobs.length - a.jobs.length || b.latest - a.latest);
}

const WAYS = {requeue: {verb: 'Requeue', does: 'put back', means: 'They run again with fresh tries.'}, purge: {verb: 'Purge', does: 'removed', danger: true, means: 'They are removed for good.'}};

export function show({content, query, onQuery, onLeave, alive}) {
  const filters = [textFilter('type', 'Type', query, {suggest: knownTypes}), textFilter('queue', 'Queue', query, {suggest: () => met.queues})];
  const bar = h('div', {class: 'bar'}), wrong = h('div'), note = h('span', {class: 'note grow'}), detail = h('div');
  const table = list({
    caption: 'Dead letters by error', key: (one) => one.name, open: true, sign: (one) => `${one.jobs.length}|${one.latest}|${query.group === one.name}`,
    columns: [
      {label: 'Error', cls: 'main', cell: (one) => h('div', {class: 'cut', title: one.message}, h('a', {href: href('/dead', {...query, group: one.name})}, one.kind), ' ', h('span', {class: 'muted'}, one.message))},
      {label: 'Type', cell: (one) => one.type}, {label: 'Queues', cls: 'mid cut', cell: (one) => [...one.queues].sort().join(', ')},
      {label: 'Jobs', cls: 'num', cell: (one) => count(one.jobs.length)}, {label: 'Latest', cls: 'num mid', cell: (one) => when(new Date(one.latest).toISOString())},
      {label: 'Actions', hide: true, cls: 'tools mid', cell: (one) => may('change') && [button('requeue', () => one.jobs.map((job) => job.id)), ' ', button('purge', () => one.jobs.map((job) => job.id))]},
    ],
    empty: () => [h('b', null, 'No dead letters'), query.type || query.queue ? 'None matches the filters.' : 'Every job that ended, ended well.'],
  });
  content.append(h('div', {class: 'filters'}, filters.map((filter) => filter.node), note, bar), wrong, h('section', {class: 'panel', 'aria-label': 'Dead letters'}, table.node), detail);

  function button(way, ids) {
    const {verb, danger} = WAYS[way];
    return h('button', {class: `button ${danger ? 'danger' : ''}`, onclick: () => perform(way, {ids: ids()})}, verb);
  }

  /** `which` is {ids} or a selection of the API: {type, queue} or {all: true}. Counted first, whatever it is. */
  async function perform(way, which) {
    const {verb, does, danger, means} = WAYS[way];
    const filter = {type: which.type, queue: which.queue};
    const counting = which.ids ? Promise.resolve({jobs: which.ids, more: false}) : matching('/dead', filter, {max: COUNT_MAX});
    const told = counting.then(({jobs, more}) => ({text: `${more ? 'More than ' : ''}${plural(jobs.length, 'dead letter')} will be ${does}. ${means}`, label: `${verb} ${more ? 'all' : plural(jobs.length, 'job')}`, none: !jobs.length}));
    told.catch(() => {});
    if (!await confirm(`${verb} dead letters`, {action: verb, danger, counting: told})) return;
    try {
      let done = 0;
      const slices = which.ids ? Array.from({length: Math.ceil(which.ids.length / 1000)}, (_, at) => ({ids: which.ids.slice(at * 1000, at * 1000 + 1000)})) : [which];
      for (const slice of slices) done += (await post(`/dead/${way}`, slice, {timeout: 120_000})).count;
      toast(`${plural(done, 'job')} ${done === 1 ? 'was' : 'were'} ${does}`, {kind: 'ok'});
    } catch (error) { complain(error); }
    failed = null;
    look();
  }

  function showBar() {
    if (!may('change')) return;
    const some = query.type || query.queue;
    const which = some ? Object.fromEntries(['type', 'queue'].filter((name) => query[name]).map((name) => [name, query[name]])) : {all: true};
    redraw(bar, Object.keys(WAYS).map((way) => h('button', {class: `button ${WAYS[way].danger ? 'danger' : ''}`, onclick: () => perform(way, which)}, `${WAYS[way].verb} ${some ? 'matching' : 'all'}…`)));
  }

  function showGroup(groups) {
    const one = groups.find((candidate) => candidate.name === query.group);
    if (!one) return redraw(detail);
    const rows = h('tbody', null, one.jobs.slice(0, 100).map((job) => h('tr', {'data-key': job.id}, h('td', {class: 'main'}, h('a', {href: jobAddress(job.id)}, tail(job.id))), h('td', {class: 'mid'}, job.queue), h('td', {class: 'main mid'}, h('div', {class: 'cut'}, job.error?.message ?? '')), h('td', {class: 'num'}, plural(job.history.length, 'try', 'tries')), h('td', {class: 'num'}, when(job.completed_at ?? job.updated_at)))));
    return redraw(detail, h('section', {class: 'panel', 'data-key': one.name, 'aria-label': 'Jobs of the group'}, h('header', null, h('h2', {class: 'grow cut'}, `${one.type}: ${one.kind}`), may('change') && Object.keys(WAYS).map((way) => button(way, () => one.jobs.map((job) => job.id))),
      h('button', {class: 'button plain square', 'aria-label': 'Close the group', onclick: () => setQuery({group: ''})}, icon('close'))),
      h('div', {class: 'table'}, h('table', null, h('caption', {class: 'sr'}, 'Jobs of the group'), h('thead', null, h('tr', null, ['Job', 'Queue', 'Message', 'Tries', 'Died'].map((name, at) => h('th', {scope: 'col', class: ['', 'mid', 'mid', 'num', 'num'][at]}, name)))), rows)), one.jobs.length > 100 && h('footer', null, `the newest 100 of ${count(one.jobs.length)}`)));
  }

  let turn = 0;
  async function look() {
    const mine = ++turn;
    const jobs = [];
    let cursor, page = 0;
    try {
      do {
        const found = await get('/dead', {type: query.type, queue: query.queue, limit: PER_PAGE, cursor});
        jobs.push(...found.jobs);
        remember(found.jobs);
        cursor = found.next_cursor;
      } while (cursor && ++page < PAGES);
    } catch (error) {
      if (mine === turn && alive()) redraw(wrong, problem(error));
      return;
    }
    if (mine !== turn || !alive()) return;
    redraw(wrong);
    const groups = group(jobs);
    redraw(note, cursor ? `groups of the newest ${count(jobs.length)}` : `${plural(jobs.length, 'dead letter')} in ${plural(groups.length, 'group')}`);
    table.update(groups);
    showGroup(groups);
  }

  // Read anew when their number changes, not all the time: an answer is many whole jobs. Now and then all the same, since
  // what was put back may die again before anybody counts.
  let failed = null, looked = 0;
  onLeave(onFigures(({stats}) => {
    if (!stats || (stats.jobs.failed === failed && Date.now() - looked < 10_000)) return;
    failed = stats.jobs.failed;
    looked = Date.now();
    look();
  }));
  onQuery((next) => {
    query = next;
    for (const filter of filters) filter.show(query);
    showBar();
    look();
  });
  showBar();
  look();
}

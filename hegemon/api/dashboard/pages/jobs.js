// All jobs, newest first: filtered by what stands in the address, live, and acted on one, some or all of them.
import {may} from '../api.js';
import {ACTS, act, actOnMatching, applies} from '../bulk.js';
import {h, icon, redraw} from '../dom.js';
import {problem} from '../feedback.js';
import {onFigures} from '../figures.js';
import {met, remember, textFilter} from '../filters.js';
import {millis, now, plural, short, span, status, tail, when} from '../format.js';
import {list} from '../list.js';
import {href, jobAddress, setQuery} from '../router.js';
import {knownTypes, openSubmit} from '../submit.js';

const STATES = ['scheduled', 'pending', 'running', 'retrying', 'completed', 'failed', 'cancelled'];
const PAGE = 50;

/** What a row says of a job's time: how long it ran, or how long it has been going on. */
export function took(job) {
  if (job.completed_at && job.started_at) return span(millis(job.completed_at) - millis(job.started_at));
  const seconds = job.status === 'running' ? Math.floor((now() - millis(job.started_at)) / 1000) : NaN;
  if (Number.isFinite(seconds)) return seconds < 1 ? '< 1 s' : span(seconds * 1000).replace('.00', '').replace('.0', '');
  return '–';
}

export const jobColumns = [
  {label: 'Status', cell: (job) => status(job.status)},
  {label: 'Job', cls: 'main', cell: (job) => h('div', {class: 'cut'}, h('a', {href: jobAddress(job.id)}, job.type), ' ', h('span', {class: 'id mid'}, tail(job.id)), job.tags.map((tag) => [' ', h('span', {class: 'tag wide'}, tag)]))},
  {label: 'Queue', cls: 'mid cut', cell: (job) => job.queue},
  {label: 'Priority', cls: 'num wide', cell: (job) => String(job.priority)},
  {label: 'Tries', cls: 'num wide', cell: (job) => String(job.history.length || (job.status === 'running' ? 1 : 0))},
  {label: 'Node', cls: 'wide', cell: (job) => job.history.at(-1)?.node ?? job.node ?? '–'},
  {label: 'Ran', cls: 'num mid', cell: took},
  {label: 'Created', cls: 'num', cell: (job) => when(job.created_at)},
];
export const jobSign = (job) => `${job.status}|${job.updated_at}|${job.history.length}|${job.status === 'running' ? took(job) : ''}`;

export function show({content, query, watch, onLeave, onQuery}) {
  const filters = [
    textFilter('type', 'Type', query, {suggest: knownTypes}),
    textFilter('queue', 'Queue', query, {suggest: () => met.queues}),
    textFilter('tag', 'Tag', query, {suggest: () => met.tags}),
  ];
  const tabs = h('nav', {class: 'tabs grow', 'aria-label': 'States'});
  const wrong = h('div');
  const acts = h('div', {class: 'acts', role: 'toolbar', 'aria-label': 'Selected jobs', hidden: true});
  const foot = h('footer');
  const all = h('div', {class: 'bar'});
  const table = list({columns: jobColumns, key: (job) => job.id, sign: jobSign, open: true, pick: may('change'), onpick: showActs, caption: 'Jobs, newest first', empty});
  let rows = [], counts = null, stop = () => {};

  content.append(h('div', {class: 'bar'}, tabs), h('div', {class: 'filters'}, filters.map((filter) => filter.node), h('span', {class: 'grow'}), all), wrong,
    h('section', {class: 'panel', 'aria-label': 'Jobs'}, table.node, foot), acts);

  const wanted = () => ({status: query.status, type: query.type, queue: query.queue, tag: query.tag});
  const filtered = () => Object.values(wanted()).some(Boolean);

  function empty() {
    return filtered() ? [h('b', null, 'No job matches'), 'Change the filters, or look at ', h('a', {href: href('/jobs')}, 'all jobs'), '.']
      : [h('b', null, 'No jobs yet'), 'What is submitted appears here at once.', may('submit') && h('div', null, h('button', {class: 'button', onclick: () => openSubmit()}, icon('plus'), 'Submit the first'))];
  }

  function showTabs() {
    redraw(tabs, ['', ...STATES].map((state) => {
      const number = counts && (state ? counts[state] : Object.values(counts).reduce((sum, value) => sum + value, 0));
      return h('a', {'data-key': state || 'all', href: href('/jobs', {...query, status: state, cursor: ''}), 'aria-current': (query.status ?? '') === state ? 'true' : null}, state ? state[0].toUpperCase() + state.slice(1) : 'All', number ? h('span', null, short(number)) : null);
    }));
  }

  function showActs() {
    const chosen = rows.filter((job) => table.selected.has(job.id));
    if (!chosen.length && acts.contains(document.activeElement)) table.focusFirst();
    acts.hidden = !chosen.length;
    if (!chosen.length) return;
    redraw(acts, h('b', null, `${plural(chosen.length, 'job')} selected`),
      Object.entries(ACTS).map(([name, {verb, danger}]) => h('button', {class: `button ${danger ? 'danger' : ''}`, disabled: !chosen.some((job) => applies(name, job.status)), onclick: async () => { if (await act(name, chosen)) table.clear(); }}, verb)),
      h('button', {class: 'button plain', onclick: () => table.clear()}, 'Clear'));
  }

  function showAll() {
    if (!may('change')) return;
    const names = Object.keys(ACTS).filter((name) => !query.status || applies(name, query.status));
    redraw(all, filtered() && names.map((name) => h('button', {class: 'button', onclick: () => actOnMatching(name, wanted())}, `${ACTS[name].verb} all matching…`)));
  }

  function showFoot(page) {
    redraw(foot, h('span', {class: 'grow'}, `${plural(page.jobs.length, 'job')} on this page${query.cursor ? '' : ', live'}`),
      query.cursor && h('a', {class: 'button', href: href('/jobs', {...query, cursor: ''})}, 'Newest'),
      page.next_cursor && h('button', {class: 'button', onclick: () => { setQuery({cursor: page.next_cursor}); scrollTo(0, 0); }}, 'Older', icon('next')));
  }

  function follow() {
    stop();
    rows = [];
    stop = watch('/jobs', {query: {...wanted(), limit: PAGE, cursor: query.cursor}, every: 2000}, (page) => {
      rows = page.jobs;
      remember(rows);
      redraw(wrong);
      for (const id of [...table.selected]) if (!rows.some((job) => job.id === id)) table.selected.delete(id);
      table.update(rows);
      showFoot(page);
      showActs();
    }, (error) => redraw(wrong, problem(error)));
  }

  onQuery((next) => {
    query = next;
    table.selected.clear();
    for (const filter of filters) filter.show(query);
    showTabs();
    showAll();
    follow();
  });
  onLeave(onFigures(({stats}) => {
    const next = stats?.jobs ?? null;
    if (JSON.stringify(next) !== JSON.stringify(counts)) { counts = next; showTabs(); }
  }));
  showTabs();
  showAll();
  follow();
}


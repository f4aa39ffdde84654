// One job: why it is where it is, where its time went, what went in and what came out, and what can be done with it.
import {Problem, may} from '../api.js';
import {ACTS, act, applies} from '../bulk.js';
import {fill, h, icon, redraw} from '../dom.js';
import {copy, problem} from '../feedback.js';
import {figures} from '../figures.js';
import {ago, exact, now, plural, span, status, tail, when} from '../format.js';
import {json} from '../json.js';
import {explain, PHASES, phases} from '../phases.js';
import {go, href} from '../router.js';
import {openSubmit} from '../submit.js';

const section = (name, body, extra) => h('section', {class: 'panel', 'aria-label': name}, h('header', null, h('h2', {class: 'grow'}, name), extra), body);
const copyButton = (text) => h('button', {class: 'button plain square', 'aria-label': 'Copy', title: 'Copy', onclick: () => copy(text)}, icon('copy'));

function timeline({parts, rows, from, to}) {
  const share = (t) => `${((t - from) / (to - from)) * 100}%`;
  return h('div', {class: 'spans'}, rows.map((row, at) => {
    const own = parts.filter((part) => part.attempt === at);
    const total = own.reduce((sum, part) => sum + part.to - part.from, 0);
    return h('div', null, h('span', {class: 'cut'}, row.label, ' ', h('span', {class: 'faint'}, String(row.outcome).replaceAll('_', ' '))),
      h('div', {class: 'track', role: 'img', 'aria-label': own.map((part) => `${PHASES[part.phase][0]} ${span(part.to - part.from)}`).join(', ')},
        own.map((part) => h('i', {class: `p-${part.phase}`, title: `${PHASES[part.phase][0]}: ${span(part.to - part.from)}`, style: {left: share(part.from), width: share(from + part.to - part.from)}}))),
      h('span', {class: 'num faint'}, span(total)));
  }));
}

function ledger({parts, from, to}) {
  const sums = new Map();
  for (const part of parts) sums.set(part.phase, (sums.get(part.phase) ?? 0) + part.to - part.from);
  const line = (mark, name, note, time) => h('tr', null, h('td', null, mark && h('i', {class: `p-${mark}`}), name, ' ', h('span', {class: 'faint mid'}, note)), h('td', {class: 'num'}, span(time)), h('td', {class: 'num faint'}, `${Math.round((time / (to - from)) * 100)} %`));
  return h('table', {class: 'ledger'}, h('caption', {class: 'sr'}, 'Where the time went'),
    h('thead', null, h('tr', null, h('th', {scope: 'col'}, 'Phase'), h('th', {scope: 'col', class: 'num'}, 'Time'), h('th', {scope: 'col', class: 'num'}, 'Share'))),
    h('tbody', null, [...sums].map(([phase, time]) => line(phase, ...PHASES[phase], time)), line('', h('b', null, 'in all'), '', to - from)));
}

function facts(job) {
  const row = (name, value) => value !== null && value !== undefined && value !== '' && [h('dt', {'data-key': name}, name), h('dd', {'data-key': name}, value)];
  return h('dl', {class: 'facts body'},
    row('Id', h('span', {class: 'mono'}, job.id)), row('Type', h('a', {href: href('/jobs', {type: job.type})}, job.type)), row('Queue', h('a', {href: href('/jobs', {queue: job.queue})}, job.queue)),
    row('Priority', String(job.priority)), row('Submitted by', job.scope), row('Created', h('span', null, exact(job.created_at), ' · ', when(job.created_at))),
    row('Due', job.scheduled_at && exact(job.scheduled_at)), row('Started', job.started_at && exact(job.started_at, {ms: true})), row('Ended', job.completed_at && exact(job.completed_at, {ms: true})), row('Expires', job.expires_at && exact(job.expires_at)),
    row('Node', job.history.at(-1)?.node ?? job.node), row('Worker', job.history.at(-1)?.worker && h('span', {class: 'mono'}, job.history.at(-1).worker)),
    row('Failures', `${job.failures}${job.max_retries === null ? '' : ` of ${job.max_retries + 1}`}`), row('Crashes', job.crashes || null), row('Timeout', job.timeout === null ? null : span(job.timeout * 1000)),
    row('Idempotency key', job.idempotency_key), row('Tags', job.tags.length ? job.tags.map((tag) => [h('a', {class: 'tag accent', href: href('/jobs', {tag})}, tag), ' ']) : null));
}

function tries(job) {
  return h('div', {class: 'table'}, h('table', null, h('caption', {class: 'sr'}, 'Tries'),
    h('thead', null, h('tr', null, ['Try', 'Outcome', 'Started', 'Ran', 'Node', 'Error'].map((name, at) => h('th', {scope: 'col', class: ['num', '', 'mid', 'num', 'mid', ''][at]}, name)))),
    h('tbody', null, [...job.history].reverse().map((one) => h('tr', {'data-key': one.attempt}, h('td', {class: 'num'}, String(one.attempt)), h('td', null, status(one.outcome)), h('td', {class: 'mid'}, one.started_at ? exact(one.started_at, {ms: true}) : '–'),
      h('td', {class: 'num'}, one.started_at && one.ended_at ? span(Date.parse(one.ended_at) - Date.parse(one.started_at)) : '–'), h('td', {class: 'mid'}, one.node ?? one.worker?.split('.')[0] ?? '–'), h('td', {class: 'main', title: one.error ?? ''}, h('div', {class: 'cut'}, one.error ?? ''))))))) ;
}

export function show({params, content, title, watch, alive}) {
  const body = h('div', {class: 'content', style: {padding: '0'}});
  content.append(body);
  title(h('a', {class: 'crumb', href: href('/jobs')}, 'Jobs'), h('span', {class: 'crumb'}, '/'), tail(params.id));
  let workers = null, drawn = '', job = null;
  if (may('read')) watch('/workers', {every: 5000}, (found) => { workers = found.workers; });

  async function perform(name) {
    // Whoever removes a job does not look at it meanwhile: there is nothing to be seen any more.
    const removes = name === 'remove';
    const done = await act(name, [job], () => removes && stop());
    if (removes && alive()) done ? go(href('/jobs')) : follow();
  }

  function actions() {
    return h('div', {class: 'bar', 'data-key': 'actions'}, may('change') && Object.entries(ACTS).filter(([name]) => applies(name, job.status)).map(([name, {verb, danger}]) => h('button', {class: `button ${danger ? 'danger' : ''}`, onclick: () => perform(name)}, verb)),
      may('submit') && h('button', {class: 'button', onclick: () => openSubmit(job)}, icon('copy'), 'Submit a copy'));
  }

  const head = h('section', {class: 'panel', 'aria-label': 'State'});
  const time = h('div', {'data-key': 'time'}), left = h('div', {class: 'content', style: {padding: '0'}}), right = h('div', {class: 'content', style: {padding: '0'}});

  function draw() {
    const live = !job.completed_at;
    const cut = phases(job, now());
    redraw(head, h('div', {class: 'body bar'}, h('span', {style: {'font-size': '14px'}}, status(job.status)), h('span', {class: 'muted says'}, explain(job, {stats: figures.stats, workers, ago, now: now()})),
      job.progress && live && h('div', {class: 'load'}, h('div', {class: 'meter', role: 'progressbar', 'aria-label': 'Progress', 'aria-valuenow': Math.round(job.progress.fraction * 100) || 0}, h('i', {style: {width: `${(job.progress.fraction ?? 0) * 100}%`}})), h('span', {class: 'faint'}, `${Math.round((job.progress.fraction ?? 0) * 100)} % ${job.progress.message ?? ''}`)), actions()));
    redraw(time, section('Where the time went', [timeline(cut), ledger(cut)], h('span', {class: 'note'}, plural(job.history.length, 'try', 'tries'))));
    const mark = `${job.status}|${job.updated_at}|${job.history.length}|${job.logs.length}|${JSON.stringify(job.progress)}`;
    if (mark === drawn) return;
    drawn = mark;
    redraw(left, time,
      job.error && section('Error', [h('div', {class: 'body'}, h('div', {class: 'problem'}, h('b', null, job.error.type), ' ', job.error.message)), job.error.traceback && h('pre', {class: 'code', tabindex: '0'}, job.error.traceback)], copyButton(job.error.traceback ?? job.error.message ?? '')),
      section('Payload', json(job.payload), copyButton(JSON.stringify(job.payload, null, 2))),
      job.status === 'completed' && section('Result', json(job.result), copyButton(JSON.stringify(job.result, null, 2))),
      job.history.length > 0 && section('Tries', tries(job)),
      job.logs.length > 0 && section('Log', h('ol', {class: 'logs', tabindex: '0'}, job.logs.map((line) => h('li', null, exact(line.at, {ms: true}), h('span', null, line.line ?? JSON.stringify(line)))))));
    redraw(right, section('Facts', facts(job)));
  }

  let stop = () => {};
  const follow = () => { stop = watch(`/jobs/${encodeURIComponent(params.id)}`, {every: 1000}, told, failed); };

  function told(found) {
    job = found;
    if (!head.isConnected) {
      fill(body, head, h('div', {class: 'grid two'}, left, right));
      title(h('a', {class: 'crumb', href: href('/jobs')}, 'Jobs'), h('span', {class: 'crumb'}, '/'), h('span', {class: 'cut'}, job.type), h('span', {class: 'id faint mid'}, tail(job.id)));
    }
    if (job.completed_at && drawn.startsWith(`${job.status}|${job.updated_at}`)) return;
    draw();
  }

  function failed(error) {
    if (!(error instanceof Problem)) return;
    if (error.status === 404) { stop(); fill(body, h('div', {class: 'panel nothing'}, h('b', null, 'There is no such job'), 'It never was, or it was removed. ', h('a', {href: href('/jobs')}, 'All jobs'))); }
    else fill(body, problem(error));
  }
  follow();
}

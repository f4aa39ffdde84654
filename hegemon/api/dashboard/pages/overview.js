// A cluster in ten seconds: one sentence that says whether all is well, six figures, four charts, who leads and who led.
import {lineChart} from '../charts.js';
import {cluster, onCluster} from '../cluster.js';
import {fill, h, icon, say} from '../dom.js';
import {follow} from '../feed.js';
import {WINDOW, onFigures} from '../figures.js';
import {count, now, plural, rate, short, span} from '../format.js';
import {connection} from '../live.js';
import {href} from '../router.js';
import {timeline} from '../timeline.js';
import {topology} from '../topology.js';

const perSecond = (value, axis) => (axis ? rate(value) : `${rate(value)}/s`);
const ms = (value, axis) => (axis && value === 0 ? '0' : span(value));

/** What is wrong, worst first, as [kind, sentence, detail]; one line if nothing is. */
export function verdicts({election, vacantSince}, {stats, error, rates}) {
  const found = [];
  if (!election) return [['', 'Looking at the cluster…', '']];
  const lost = election.members.filter((member) => member.health === 'dead');
  const suspect = election.members.filter((member) => member.health === 'suspect');
  if (!election.leader_id) found.push(['bad', 'Nobody leads', `No job is dispatched until a leader is found${vacantSince ? `; for ${span(now() - vacantSince)}` : ''}.`]);
  if (error) found.push(['bad', 'The node cannot tell of its jobs', error.message]);
  if (lost.length) found.push(['bad', `${lost.map((member) => member.id).join(', ')} ${lost.length > 1 ? 'are' : 'is'} lost`, `${election.members.length - lost.length} of ${election.members.length} nodes are there.`]);
  if (suspect.length) found.push(['warn', `${suspect.map((member) => member.id).join(', ')} ${suspect.length > 1 ? 'do' : 'does'} not answer in time`, 'The others look whether it still lives.']);
  for (const [type, number] of Object.entries(stats?.queue.parked ?? {})) found.push(['warn', `${plural(number, 'job')} of type ${type} ${number === 1 ? 'waits' : 'wait'}`, 'No live worker handles that type.']);
  if (rates.at(-1)?.v[3] > 0) found.push(['warn', 'Jobs have failed in the last minute', 'They are among the dead letters.']);
  if (!found.length) {
    const alive = election.members.filter((member) => member.health === 'alive').length;
    const waiting = stats?.queue.ready ?? 0;
    found.push(['ok', `All is well: ${election.leader_id} leads ${plural(alive, 'node')}`, waiting ? `${plural(waiting, 'job')} ready to run.` : 'Nothing waits.']);
  }
  return found;
}

function figure(name, address, unit = '') {
  const value = h('span'), sub = h('div', {class: 'sub'}, ' ');
  const node = h('a', {class: 'figure', href: address}, h('div', {class: 'name'}, name), h('div', {class: 'value'}, value, unit && h('small', null, unit)), sub);
  return {node, set(text, below = '', bad = false) { say(value, text); say(sub, below || ' '); node.classList.toggle('bad', bad); }};
}

export function show({content, onLeave}) {
  const verdict = h('div', {class: 'verdict', 'aria-live': 'polite'});
  const tiles = {
    rate: figure('Throughput', href('/jobs', {status: 'completed'}), 'jobs/s'),
    ready: figure('Ready', href('/jobs', {status: 'pending'})),
    running: figure('Running', href('/jobs', {status: 'running'})),
    later: figure('Later', href('/jobs', {status: 'scheduled'})),
    latency: figure('Wait, p95', href('/jobs', {status: 'completed'})),
    dead: figure('Dead letters', href('/dead')),
  };
  const charts = {
    rates: lineChart({label: 'Jobs by the second', window: WINDOW, format: perSecond, series: [{name: 'accepted', color: 'muted', dashed: true}, {name: 'completed', color: 'accent', area: true}, {name: 'failed', color: 'bad'}]}),
    depth: lineChart({label: 'Jobs in the index', window: WINDOW, format: short, series: [{name: 'ready', color: 'accent', area: true}, {name: 'delayed', color: 'muted'}, {name: 'with workers', color: 'run'}]}),
    latency: lineChart({label: 'Latencies of completed jobs', window: WINDOW, format: ms, empty: 'No job has ended in the last minutes', series: [{name: 'wait p50', color: 'accent'}, {name: 'wait p95', color: 'warn'}, {name: 'run p50', color: 'run'}, {name: 'run p95', color: 'muted', dashed: true}]}),
    failed: lineChart({label: 'Failures by the minute', window: WINDOW, format: short, series: [{name: 'dead-lettered in a minute', color: 'bad', area: true}]}),
  };
  const picture = h('div'), history = h('div'), facts = h('span', {class: 'note'});
  const panel = (title, note, ...body) => h('section', {class: 'panel', 'aria-label': title}, h('header', null, h('h2', {class: 'grow'}, title), h('span', {class: 'note'}, note)), body);
  content.append(verdict,
    h('div', {class: 'figures'}, Object.values(tiles).map((tile) => tile.node)),
    h('div', {class: 'grid'}, panel('Throughput', 'a second, over the last 10 s', charts.rates.node), panel('Queue depth', 'jobs in the index', charts.depth.node),
      panel('Latency', 'of the last minute', charts.latency.node), panel('Failures', 'in the last minute', charts.failed.node)),
    h('div', {class: 'grid two'}, panel('Election', facts, history), panel('Topology', 'ring: share of the slots in use', picture)));

  let drawn = '';
  function showCluster() {
    const {election} = cluster;
    const [[kind, text, detail], ...more] = verdicts(cluster, latest);
    const mark = [kind, text, detail, more.length].join('|');
    if (verdict.dataset.mark !== mark) {
      verdict.dataset.mark = mark;
      verdict.className = `verdict ${kind}`;
      fill(verdict, icon(kind === 'ok' ? 'check' : kind ? 'alert' : 'again'), h('span', null, text, ' ', h('small', null, detail, more.map(([, words]) => ` ${words}.`).join(''))));
    }
    if (!election) return;
    say(facts, `${election.current_algorithm}, term ${election.term}, epoch ${election.epoch}`);
    const next = JSON.stringify([election.leader_id, election.members.map(({id, health, load, slots}) => [id, health, load, slots])]);
    if (next !== drawn) fill(picture, topology(election));
    drawn = next;
  }

  function showHistory() {
    if (cluster.election && !history.contains(document.activeElement)) {
      const place = history.querySelector('.changes')?.scrollTop ?? 0;
      fill(history, timeline(offices, cluster.election.last_changes, cluster.seen));
      history.querySelector('.changes').scrollTop = place;
    }
  }

  let latest = {rates: []}, offices = [];
  onLeave(onFigures((figures) => {
    latest = figures;
    showCluster();
    const {stats, rates, depth, latency} = figures;
    const at = now();
    charts.rates.draw(rates, at);
    charts.depth.draw(depth, at);
    charts.latency.draw(latency, at);
    charts.failed.draw(rates.map(({t, v}) => ({t, v: [v[3]]})), at);
    if (!stats || connection.state === 'lost') return;
    const {jobs, queue} = stats;
    const now1 = rates.at(-1)?.v ?? [NaN, NaN, NaN];
    tiles.rate.set(rate(now1[1]), `${rate(now1[0])}/s accepted`);
    tiles.ready.set(count(queue.ready), Object.keys(queue.parked).length ? `${count(Object.values(queue.parked).reduce((a, b) => a + b, 0))} without a worker` : 'waiting for a slot');
    const slots = cluster.election?.members.reduce((sum, member) => sum + (member.health === 'alive' ? member.slots : 0), 0);
    tiles.running.set(count(queue.held), slots ? `with workers, ${count(slots)} slots` : 'with workers');
    tiles.later.set(count(queue.delayed), `${count(jobs.retrying)} to be tried again`);
    const wait = latency.findLast((point) => Number.isFinite(point.v[1]))?.v;
    tiles.latency.set(wait ? span(wait[1]) : '–', wait ? `run p95 ${span(wait[3])}` : 'no job ended lately');
    tiles.dead.set(count(jobs.failed), jobs.failed ? 'to look at' : 'none', jobs.failed > 0);
  }));
  let changes = '';
  onLeave(onCluster(() => {
    showCluster();
    const next = JSON.stringify([cluster.election.last_changes, cluster.seen.length]);
    if (next !== changes) showHistory();
    changes = next;
  }));
  const turning = setInterval(() => { showHistory(); if (!cluster.election?.leader_id) showCluster(); }, 10_000);
  onLeave(() => clearInterval(turning));
  onLeave(follow({kind: 'office.'}, ({events}) => { offices = events; showHistory(); }));
}

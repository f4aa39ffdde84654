// What happened, newest first: the events of all nodes, filtered by kind, severity and node.
import {may} from '../api.js';
import {onCluster} from '../cluster.js';
import {fill, h} from '../dom.js';
import {problem} from '../feedback.js';
import {follow, has} from '../feed.js';
import {choiceFilter, textFilter} from '../filters.js';
import {exact, plural, status} from '../format.js';
import {list} from '../list.js';
import {jobAddress} from '../router.js';

const SHOWN = 300;
const SEVERITIES = [['', 'Any severity'], ['info', 'Info and above'], ['warning', 'Warning and above'], ['error', 'Error and above']];

function words(fields) {
  return Object.entries(fields).filter(([, value]) => value !== null && value !== '').map(([name, value]) => [
    h('span', {class: 'faint'}, `${name} `), name === 'job_id' || name === 'job' ? h('a', {href: jobAddress(String(value))}, String(value)) : typeof value === 'object' ? JSON.stringify(value) : String(value), '  ']);
}

/** For a node that keeps no events: what is known of the leadership, in their shape. */
function leadership({election, seen}) {
  const changes = election.last_changes.map((change, at) => ({id: `${change.at}-${at}`, at: change.at, node: election.node_id, kind: `election.${change.what}`, severity: change.leader ? 'info' : 'warning', fields: {leader: change.leader, term: change.term, reason: change.reason}}));
  const own = seen.map((one, at) => ({id: `seen-${one.at}-${at}`, at: new Date(one.at).toISOString(), node: election.node_id, kind: 'seen.from_here', severity: one.kind === 'bad' ? 'error' : one.kind === 'warn' ? 'warning' : 'info', fields: {what: one.text, detail: one.detail}}));
  return [...changes, ...own];
}

export function show({content, query, onQuery, onLeave, alive}) {
  const note = h('span', {class: 'note'}), wrong = h('div');
  const filters = [textFilter('kind', 'Kind, such as election.', query, {width: '220px'}), choiceFilter('severity', 'Severity', query, SEVERITIES), textFilter('node', 'Node', query)];
  const table = list({
    caption: 'Events, newest first', key: (event) => event.id, sign: () => '',
    columns: [{label: 'Time', cls: 'nowrap faint', cell: (event) => exact(event.at, {ms: true})}, {label: 'Severity', cls: 'mid', cell: (event) => status(event.severity)}, {label: 'Kind', cls: 'nowrap', cell: (event) => h('b', null, event.kind)},
      {label: 'Node', cls: 'mid', cell: (event) => event.node}, {label: 'What', cls: 'wrap', cell: (event) => h('span', {class: 'mono'}, words(event.fields))}],
    empty: () => [h('b', null, 'No events'), query.kind || query.severity || query.node ? 'None matches the filters.' : 'Nothing worth telling has happened.'],
  });
  content.append(h('div', {class: 'filters'}, filters.map((filter) => filter.node), h('span', {class: 'grow'}), note), wrong, h('section', {class: 'panel', 'aria-label': 'Events'}, table.node));
  let stop = () => {};

  function draw(events, says) {
    // Their order is that of their arrival in the store; a node's clock may be some milliseconds ahead of that.
    table.update([...events].sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0)).slice(0, SHOWN));
    fill(note, says);
  }

  async function begin() {
    stop();
    const {kind, severity, node} = query;
    let kept;
    try { kept = await has('/api/v1/activity'); } catch (error) { fill(wrong, problem(error)); return; }
    if (!alive() || !may('read')) return;
    stop();
    if (kept) {
      stop = follow({kind, severity, node}, ({events, complete, missing}) => {
        fill(wrong);
        draw(events, complete ? `${plural(events.length, 'event')} of all nodes, live` : `only this node’s own, without ${missing.join(', ')}: the shared store does not answer`);
      }, (error) => fill(wrong, problem(error)));
    } else {
      stop = onCluster((now) => {
        const order = ['info', 'warning', 'error'];
        draw(leadership(now).filter((event) => (!kind || event.kind.startsWith(kind)) && (!node || event.node === node) && (!severity || order.indexOf(event.severity) >= order.indexOf(severity))), 'leadership only: this node keeps no other events');
      });
    }
  }
  onLeave(() => stop());
  onQuery((next) => {
    query = next;
    for (const filter of filters) filter.show(query);
    begin();
  });
  begin();
}

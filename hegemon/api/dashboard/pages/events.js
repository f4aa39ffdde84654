// What happened, newest first: the events of all nodes, filtered by kind, severity and node.
import {cluster} from '../cluster.js';
import {h, redraw, say} from '../dom.js';
import {feed, follow} from '../feed.js';
import {problem} from '../feedback.js';
import {choiceFilter, textFilter} from '../filters.js';
import {exact, plural, status, tail} from '../format.js';
import {list} from '../list.js';
import {jobAddress} from '../router.js';

const SHOWN = 300;
const SEVERITIES = [['', 'Any severity'], ['info', 'Info and above'], ['warning', 'Warning and above'], ['error', 'Error and above']];

const words = (fields) => Object.entries(fields).filter(([, value]) => value !== null && value !== '').map(([name, value]) => h('span', {class: 'word'},
  h('span', {class: 'faint'}, `${name} `), name === 'job' ? h('a', {href: jobAddress(value), title: value}, tail(value)) : typeof value === 'object' ? JSON.stringify(value) : String(value)));

export function show({content, query, onQuery, onLeave}) {
  const note = h('span', {class: 'note'}), wrong = h('div');
  const kinds = () => feed.events.flatMap(({kind}) => [kind, `${kind.split('.')[0]}.`]);
  const filters = [textFilter('kind', 'Kind, such as election.', query, {suggest: kinds, width: '220px'}), choiceFilter('severity', 'Severity', query, SEVERITIES),
    textFilter('node', 'Node', query, {suggest: () => [...(cluster.election?.members ?? []).map(({id}) => id), ...feed.events.map(({node}) => node)]})];
  const table = list({
    caption: 'Events, newest first', key: (event) => event.id, sign: () => '',
    columns: [{label: 'Time', cls: 'nowrap faint', cell: (event) => exact(event.at, {ms: true})}, {label: 'Severity', cls: 'mid', cell: (event) => status(event.severity)}, {label: 'Kind', cls: 'nowrap', cell: (event) => h('b', null, event.kind)},
      {label: 'Node', cls: 'mid', cell: (event) => event.node}, {label: 'What', cls: 'wrap', cell: (event) => h('span', {class: 'mono words'}, words(event.fields))}],
    empty: () => [h('b', null, 'No events'), query.kind || query.severity || query.node ? 'None matches the filters.' : 'Nothing worth telling has happened.'],
  });
  content.append(h('div', {class: 'filters'}, filters.map((filter) => filter.node), h('span', {class: 'grow'}), note), wrong, h('section', {class: 'panel stacked', 'aria-label': 'Events'}, table.node));
  let stop = () => {};

  /** What the filters have found, and whether that goes on. */
  function says(number) {
    if (!feed.complete) return `only this node’s own, without ${feed.missing.join(', ')}: the shared store does not answer`;
    return `${plural(number, 'event')} of all nodes, ${feed.state === 'lost' ? `the stream is lost: ${feed.reason}` : feed.state}`;
  }

  function begin() {
    stop();
    stop = follow(query, ({events}) => {
      redraw(wrong);
      // Their order is that of their arrival in the store; a node's clock may be some milliseconds ahead of that.
      table.update([...events].sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0)).slice(0, SHOWN));
      say(note, says(events.length));
    }, (error) => redraw(wrong, problem(error)));
  }
  onLeave(() => stop());
  onQuery((next) => {
    query = next;
    for (const filter of filters) filter.show(query);
    begin();
  });
  begin();
}

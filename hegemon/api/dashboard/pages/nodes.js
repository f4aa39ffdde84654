// Nodes, what they believe of the leadership, and the worker processes on each.
import {ask, may} from '../api.js';
import {cluster, onCluster} from '../cluster.js';
import {h, icon, redraw} from '../dom.js';
import {complain, confirm, problem, toast} from '../feedback.js';
import {count, plural, status, when} from '../format.js';
import {list} from '../list.js';
import {href} from '../router.js';

const meter = (held, slots) => h('div', {class: 'load'}, h('div', {class: 'meter'}, h('i', {style: {width: `${slots ? Math.min(100, (held / slots) * 100) : 0}%`}})), h('span', {class: 'faint nowrap'}, `${count(held)} / ${count(slots)}`));

async function stepDown() {
  if (!await confirm('Make the leader step down', {text: 'It hands its office over in order and does not stand for election for ten seconds. If no other node can lead, nobody does until then.', action: 'Step down', danger: true})) return;
  try {
    await ask('POST', '/election/step-down', {body: {}});
    toast('It steps down', {kind: 'ok'});
  } catch (error) { complain(error); }
}

export function show({content, watch, onLeave}) {
  const facts = h('dl', {class: 'facts'}), wrong = h('div'), tools = h('div');
  let nodes = [], workers = [];
  const nodeTable = list({
    caption: 'Nodes', key: (node) => node.id, sign: (node) => JSON.stringify(node),
    columns: [
      {label: 'Node', cls: 'main', cell: (node) => h('div', {class: 'cut'}, node.url && node.id !== cluster.election?.node_id ? h('a', {href: `${node.url}${href('/nodes')}`, rel: 'noreferrer', target: '_blank'}, node.id) : h('b', null, node.id), ' ',
        node.leads && h('span', {class: 'tag accent'}, icon('crown'), 'leader'), ' ', node.id === cluster.election?.node_id && h('span', {class: 'tag mid'}, 'this node'))},
      {label: 'Health', cell: (node) => status(node.health)},
      {label: 'Slots in use', cls: 'mid', cell: (node) => meter(node.held, node.slots)},
      {label: 'Workers', cls: 'num', cell: (node) => count(node.workers)},
      {label: 'Rank', cls: 'num wide', cell: (node) => (node.rank === null || node.rank === undefined ? '–' : String(node.rank))},
      {label: 'Address', cls: 'wide mono', cell: (node) => node.address || '–'},
      {label: 'Version', cls: 'wide', cell: (node) => node.version ?? '–'},
      {label: 'Up since', cls: 'num mid', cell: (node) => when(node.started_at)},
    ],
    empty: () => [h('b', null, 'No nodes known')],
  });
  const workerTable = list({
    caption: 'Worker processes', key: (worker) => worker.id, sign: (worker) => JSON.stringify(worker),
    columns: [
      {label: 'Worker', cls: 'main', cell: (worker) => h('div', {class: 'cut mono', title: worker.id}, worker.id.split('~')[0], worker.solo && [' ', h('span', {class: 'tag'}, 'runs suspects alone')])},
      {label: 'Node', cls: 'mid', cell: (worker) => worker.node},
      {label: 'PID', cls: 'num', cell: (worker) => String(worker.pid)},
      {label: 'Slots in use', cell: (worker) => meter(worker.held, worker.slots)},
      {label: 'Handles', cls: 'wide', cell: (worker) => h('span', {class: 'muted', title: worker.types.join(', ')}, worker.types.length > 6 ? `${worker.types.slice(0, 6).join(', ')} and ${worker.types.length - 6} more` : worker.types.join(', '))},
      {label: 'Up since', cls: 'num mid', cell: (worker) => when(worker.started_at)},
    ],
    empty: () => [h('b', null, 'No worker processes'), 'No job can run.'],
  });
  content.append(wrong, h('section', {class: 'panel', 'aria-label': 'Leadership'}, h('header', null, h('h2', {class: 'grow'}, 'Leadership, as this node believes'), tools), h('div', {class: 'body'}, facts)),
    h('section', {class: 'panel', 'aria-label': 'Nodes'}, h('header', null, h('h2', {class: 'grow'}, 'Nodes')), nodeTable.node),
    h('section', {class: 'panel', 'aria-label': 'Workers'}, h('header', null, h('h2', {class: 'grow'}, 'Worker processes')), workerTable.node));

  function draw() {
    const {election} = cluster;
    if (!election) return;
    const known = new Map(nodes.map((node) => [node.id, node]));
    const members = new Map(election.members.map((member) => [member.id, member]));
    const ids = [...new Set([...members.keys(), ...known.keys()])].sort((a, b) => a.localeCompare(b, 'en', {numeric: true}));
    nodeTable.update(ids.map((id) => {
      const member = members.get(id), node = known.get(id);
      return {id, leads: id === election.leader_id, health: member?.health ?? (node?.alive ? 'alive' : 'dead'), slots: node?.slots ?? member?.slots ?? 0, held: node?.held ?? member?.load ?? 0,
        workers: workers.filter((worker) => worker.node === id && !worker.solo).length, rank: member?.rank, address: member?.address, url: node?.url ?? member?.url, version: node?.version ?? member?.version, started_at: node?.started_at};
    }));
    const row = (name, value) => [h('dt', null, name), h('dd', null, value)];
    redraw(facts, row('Leader', election.leader_id ? `${election.leader_id}${election.is_leader ? ', this node' : ''}` : h('span', {class: 's-failed'}, 'nobody')), row('Term, epoch', `${election.term}, ${election.epoch}`),
      row('Algorithm', election.current_algorithm), row('Role of this node', election.role), row('Members', plural(election.members.length, 'node')),
      row('Election traffic', Object.entries(election.traffic).filter(([, value]) => value).map(([name, value]) => `${count(value)} ${name.replaceAll('_', ' ')}`).join(', ') || 'none'));
    if (!may('administer')) return;
    const leader = known.get(election.leader_id);
    // Only the leader itself can be asked, and a page may ask no other node than its own.
    redraw(tools, election.is_leader ? h('button', {class: 'button danger', onclick: stepDown}, 'Step down…')
      : leader ? h('a', {class: 'button', href: `${leader.url}${href('/nodes')}`, rel: 'noreferrer', target: '_blank'}, `Step down: on ${leader.id}`) : null);
  }

  watch('/nodes', {every: 2000}, (found) => { nodes = found.nodes; redraw(wrong); draw(); }, (error) => redraw(wrong, problem(error)));
  watch('/workers', {every: 2000}, (found) => { workers = found.workers; workerTable.update(workers); draw(); });
  onLeave(onCluster(draw));
}

// What the whole page knows of the cluster at any time: who leads, who is there, and every change of it, said at once.
import {may} from './api.js';
import {toast} from './feedback.js';
import {now} from './format.js';
import {onConnection, watch} from './live.js';

const EVERY = 1000;
const CALM = 2000;
const SEEN_MAX = 100;

/** The last answer of /election, the changes that this page saw itself (newest last), and since when nobody leads. */
export const cluster = {election: null, seen: [], vacantSince: null};
const listeners = new Set();

export function onCluster(listener) {
  listeners.add(listener);
  if (cluster.election) listener(cluster);
  return () => listeners.delete(listener);
}

function note(kind, text, detail = '') {
  cluster.seen = [...cluster.seen.slice(1 - SEEN_MAX), {at: now(), kind, text, detail}];
  toast(text, {kind, detail});
}

function compare(before, after) {
  const health = new Map(before.members.map((member) => [member.id, member.health]));
  for (const {id, health: is} of after.members) {
    const was = health.get(id);
    if (was === is) continue;
    if (is === 'dead') note('bad', `${id} is lost`, 'The others do not reach it any more.');
    else if (is === 'alive' && (was === 'dead' || was === 'left' || was === undefined)) note('ok', `${id} has joined`);
    else if (is === 'left') note('warn', `${id} has left`, 'In order: it handed its work over.');
  }
  if (before.leader_id !== after.leader_id) {
    if (after.leader_id) {
      const gap = cluster.vacantSince === null ? '' : ` It took ${((now() - cluster.vacantSince) / 1000).toFixed(1)} s.`;
      note('ok', `${after.leader_id} leads now`, `Term ${after.term}, epoch ${after.epoch}.${before.leader_id ? ` Before it led ${before.leader_id}.` : gap}`);
    } else note('warn', `${before.leader_id} leads no more`, 'The nodes elect another leader.');
  } else if (before.leader_id && before.epoch && after.epoch > before.epoch) {
    note('', `${after.leader_id} took office anew`, `Epoch ${after.epoch}.`);
  }
  cluster.vacantSince = after.leader_id ? null : (cluster.vacantSince ?? now());
}

/** Begin to watch, for as long as somebody is logged in. Returns how to stop. */
export function start() {
  if (!may('read')) return () => {};
  const stop = watch('/election', {every: EVERY, calm: CALM}, (election) => {
    const before = cluster.election;
    cluster.election = election;
    if (before && before.node_id === election.node_id) compare(before, election);
    for (const listener of listeners) listener(cluster);
  });
  const leave = onConnection((connection, before) => {
    if (connection.state === 'lost') {
      const node = cluster.election?.node_id ?? 'This node';
      note('bad', `${node} does not answer`, `${node === cluster.election?.leader_id ? 'It led the cluster. ' : ''}The page goes on as soon as it does.`);
    } else if (before?.state === 'lost' && connection.state === 'live') {
      note('ok', `${cluster.election?.node_id ?? 'The node'} answers again`, `It was away for ${((Date.now() - before.since) / 1000).toFixed(1)} s.`);
    }
  });
  return () => { stop(); leave(); cluster.election = null; };
}

/** The other nodes' dashboards, for when this node is gone. */
export const others = () => (cluster.election?.members ?? []).filter((member) => member.url && member.id !== cluster.election.node_id && member.health === 'alive');

// The events of all nodes, gone on with where the last answer ended, so that none is missed and none comes twice. A node
// that keeps no events yet is told apart by its description of itself; the page then shows what it saw of the leadership.
import {get} from './api.js';
import {watch} from './live.js';

const EVERY = 2000;
const KEPT = 2000;
let described = null;

/** Whether the node's API has a path: asked once, of /openapi.json. */
export async function has(path) {
  described ??= get('//openapi.json', null, {open: true}).catch((error) => { described = null; throw error; });
  return path in (await described).paths;
}

/** Be told of events, oldest first: told({events, fresh, complete, missing}). `filter`: {kind, severity, node}. */
export function follow(filter, told, failed) {
  let next = null;
  let events = [];
  return watch('/activity', {query: () => ({...filter, limit: 200, after: next}), every: EVERY}, (page) => {
    const known = new Set(events.slice(-400).map((event) => event.id));
    const fresh = page.events.filter((event) => !known.has(event.id));
    events = [...events, ...fresh].slice(-KEPT);
    next = page.next ?? next;
    told({events, fresh, complete: page.complete, missing: page.missing});
  }, failed);
}

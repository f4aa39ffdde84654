// JSON in colours, as elements: its words are text and nothing else.
import {h} from './dom.js';

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
const MAX = 100_000;

/** A value, indented; what is very long is cut, and says so. */
export function json(value) {
  const whole = JSON.stringify(value, null, 2) ?? 'null';
  const text = whole.slice(0, MAX);
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(TOKEN)) {
    parts.push(text.slice(at, found.index));
    const [all, string, colon, word] = found;
    parts.push(h('span', {class: colon ? 'k' : string ? 's' : word ? 'w' : 'n'}, string ?? all), colon ?? '');
    at = found.index + all.length;
  }
  parts.push(text.slice(at));
  return h('pre', {class: 'code', tabindex: '0'}, parts, whole.length > MAX ? `\n… and ${whole.length - MAX} more characters` : null);
}

// How figures and times read. Units stand with every number; what is not known is a dash.
import {h} from './dom.js';

const whole = new Intl.NumberFormat('en');
let offset = 0;

/** The cluster's time as far as the browser can tell: its own, unless a node's differs by more than its Date can be off. */
export const now = () => Date.now() + offset;

/** Learn from an answer's Date what the browser's clock is worth. */
export function hearDate(text) {
  const said = Date.parse(text ?? '');
  if (!Number.isNaN(said)) offset = Math.abs(said - Date.now()) > 3000 ? said - Date.now() : 0;
}

export const count = (value) => (Number.isFinite(value) ? whole.format(value) : '–');

/** 1234567 -> 1.23 M: where there is little room. */
export function short(value) {
  if (!Number.isFinite(value)) return '–';
  for (const [size, unit] of [[1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) {
    if (Math.abs(value) >= size) return `${three(value / (unit === 'k' ? 1e3 : size))} ${unit}`;
  }
  return Number.isInteger(value) ? whole.format(value) : three(value);
}

const three = (value) => (Math.abs(value) >= 100 ? whole.format(Math.round(value)) : String(Number(value.toPrecision(value >= 10 ? 3 : 2))));

/** Milliseconds as a person says them: 8 ms, 1.24 s, 3 m 12 s, 2 h 5 m, 4 d 3 h. */
export function span(ms) {
  if (!Number.isFinite(ms)) return '–';
  if (ms < 0) ms = 0;
  if (ms < 1000) return `${ms < 10 && !Number.isInteger(ms) ? ms.toFixed(1) : Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'm'], [1, 's']];
  const first = parts.findIndex(([size]) => seconds >= size);
  const [[size, unit], [lesser, lesserUnit]] = [parts[first], parts[first + 1]];
  const rest = Math.floor((seconds % size) / lesser);
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${lesserUnit}` : ''}`;
}

export function rate(perSecond) {
  if (!Number.isFinite(perSecond)) return '–';
  return short(perSecond >= 100 ? Math.round(perSecond) : Number(perSecond.toFixed(1)));
}

export function ago(ms) {
  if (ms < -999) return `in ${coarse(-ms)}`;
  return ms < 1000 ? 'now' : `${coarse(ms)} ago`;
}

function coarse(ms) {
  for (const [size, unit] of [[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'm']]) if (ms >= size) return `${Math.floor(ms / size)} ${unit}`;
  return `${Math.floor(ms / 1000)} s`;
}

export const millis = (text) => (text ? Date.parse(text) : NaN);

const two = (value) => String(value).padStart(2, '0');

/** A moment by the browser's clock: 14:03:09.120, with the date if it is another day. */
export function clock(time, {ms = false} = {}) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return '–';
  const words = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}${ms ? `.${String(at.getMilliseconds()).padStart(3, '0')}` : ''}`;
  const today = new Date(now()).toDateString() === at.toDateString();
  return today ? words : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${words}`;
}

/** A moment as "12 s ago", which goes on counting by itself; the exact one is its title. */
export function when(text) {
  if (!text) return h('span', {class: 'faint'}, '–');
  const at = millis(text);
  return h('time', {datetime: text, title: text, 'data-ago': at, class: 'nowrap'}, ago(now() - at));
}

/** A moment by the clock. */
export const exact = (text, options) => h('time', {datetime: text ?? '', title: text ?? '', class: 'nowrap'}, clock(millis(text), options));

export function tick() {
  for (const node of document.querySelectorAll('time[data-ago]')) {
    const words = ago(now() - Number(node.dataset.ago));
    if (node.textContent !== words) node.textContent = words;
  }
}

/** What tells an id from its neighbours: the first half of a UUIDv7 is the time, alike for all of one moment. */
export const tail = (id) => id.slice(14);

export const status = (name) => h('span', {class: `status s-${name}`}, h('i'), String(name).replaceAll('_', ' '));

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;


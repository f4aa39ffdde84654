// Line charts over time, drawn as SVG: no library, crisp at any size, coloured by the theme alone.
import {fill, h, s, say} from './dom.js';
import {clock} from './format.js';

const LEFT = 44, RIGHT = 4, TOP = 10, BOTTOM = 20, HEIGHT = 168;

/** The next "round" number that is not below `value`: one digit, whose half is short too. */
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

/** A chart of `series` [{name, color, area}] over the last `window` ms. `format(value)` words a figure.
 * Returns {node, draw(points, now)}; a point is {t, v: [a value for each series, NaN for a gap]}. */
export function lineChart({series, window, format, label, empty = 'Gathering figures…'}) {
  const figures = series.map(() => h('b', null, '–'));
  const svg = s('svg', {role: 'img', 'aria-label': label, height: HEIGHT});
  const legend = h('div', {class: 'legend'}, series.map((one, at) => h('span', null, h('i', {class: `c-${one.color}`}), one.name, figures[at])));
  const node = h('div', {class: 'chart'}, legend, svg);
  let points = [], until = Date.now(), width = 0, hover = null, waiting = false;

  // Measured here and nowhere else: asking for the width while drawing would make the browser lay out each chart anew.
  new ResizeObserver(([entry]) => {
    const next = Math.round(entry.contentRect.width);
    if (next !== width) { width = next; plan(); }
  }).observe(svg);
  svg.addEventListener('pointermove', (event) => { hover = event.clientX - svg.getBoundingClientRect().left; plan(); });
  svg.addEventListener('pointerleave', () => { hover = null; plan(); });

  function plan() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; render(); });
  }

  function render() {
    if (width < LEFT + 40) return;
    const from = until - window;
    const shown = points.filter((point) => point.t >= from - 5000);
    const highest = Math.max(0, ...shown.flatMap((point) => point.v.filter(Number.isFinite)));
    const top = roundUp(highest * 1.05);
    const x = (t) => LEFT + ((t - from) / window) * (width - LEFT - RIGHT);
    const y = (v) => HEIGHT - BOTTOM - (v / top) * (HEIGHT - TOP - BOTTOM);
    const parts = [0, 0.5, 1].map((share) => {
      const level = y(top * share);
      return [
        s('line', {class: 'gridline', x1: LEFT, x2: width - RIGHT, y1: level, y2: level}),
        s('text', {class: 'axis', x: LEFT - 8, y: level + 4, 'text-anchor': 'end'}, format(top * share, true)),
      ];
    });
    for (const [share, text] of [[0, `−${window / 60_000} min`], [1, 'now']]) {
      parts.push(s('text', {class: 'axis', x: share ? width - RIGHT : LEFT, y: HEIGHT - 4, 'text-anchor': share ? 'end' : 'start'}, text));
    }
    if (shown.length < 2) parts.push(s('text', {class: 'empty', x: (LEFT + width) / 2, y: HEIGHT / 2}, empty));
    else series.forEach((one, at) => parts.push(paths(shown, at, one, x, y)));
    const picked = hover === null ? null : nearest(shown, from + ((hover - LEFT) / (width - LEFT - RIGHT)) * window);
    if (picked) {
      parts.push(s('line', {class: 'cross', x1: x(picked.t), x2: x(picked.t), y1: TOP, y2: HEIGHT - BOTTOM}));
      series.forEach((one, at) => {
        if (Number.isFinite(picked.v[at])) parts.push(s('circle', {class: `c-${one.color}`, fill: 'currentColor', cx: x(picked.t), cy: y(picked.v[at]), r: 3}));
      });
      parts.push(s('text', {class: 'axis', x: Math.min(Math.max(x(picked.t), LEFT + 24), width - 30), y: HEIGHT - 4, 'text-anchor': 'middle'}, clock(picked.t)));
    }
    fill(svg, parts);
    const told = picked ?? shown.at(-1);
    figures.forEach((figure, at) => say(figure, told && Number.isFinite(told.v[at]) ? format(told.v[at]) : '–'));
  }

  return {
    node,
    draw(next, now) {
      points = next;
      until = now;
      plan();
    },
  };
}

function nearest(points, t) {
  let best = null;
  for (const point of points) if (!best || Math.abs(point.t - t) < Math.abs(best.t - t)) best = point;
  return best;
}

/** The line of one series, in pieces where figures are missing, and the area below it. */
function paths(points, at, {color, area, dashed}, x, y) {
  const pieces = [];
  let piece = [];
  for (const point of points) {
    if (Number.isFinite(point.v[at])) piece.push(point);
    else if (piece.length) { pieces.push(piece); piece = []; }
  }
  if (piece.length) pieces.push(piece);
  return s('g', {class: `c-${color}`}, pieces.map((some) => {
    const line = some.map((point, i) => `${i ? 'L' : 'M'}${x(point.t).toFixed(1)} ${y(point.v[at]).toFixed(1)}`).join('');
    const below = `${line}L${x(some.at(-1).t).toFixed(1)} ${y(0)}L${x(some[0].t).toFixed(1)} ${y(0)}Z`;
    return [area ? s('path', {class: 'area', d: below}) : null, s('path', {class: 'line', d: line, 'stroke-dasharray': dashed ? '3 3' : null})];
  }));
}

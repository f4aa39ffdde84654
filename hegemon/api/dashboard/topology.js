// The nodes as a picture: the leader above, the others in rows below it, each with the share of its slots in use.
import {h, s} from './dom.js';

const WIDTH = 460, HEIGHT = 250, TOP = 48;
const WORDED_MAX = 17;
const COLORS = {alive: 'c-ok', suspect: 'c-warn', dead: 'c-bad', left: 'c-muted'};

function place(members, leader) {
  const others = members.filter((member) => member.id !== leader);
  const first = members.find((member) => member.id === leader);
  const worded = members.length <= WORDED_MAX;
  const rows = worded ? (others.length > 6 ? 2 : 1) : Math.ceil(others.length / 20);
  const each = Math.ceil(others.length / rows) || 1;
  const [from, step] = worded ? [rows === 1 ? 158 : 128, 84] : [112, 26];
  const spots = others.map((member, at) => {
    const row = Math.floor(at / each);
    const inRow = Math.min(each, others.length - row * each);
    const apart = Math.min(worded ? 140 : 22, (WIDTH - 60) / Math.max(1, inRow - 1));
    return {member, x: WIDTH / 2 + ((at % each) - (inRow - 1) / 2) * apart, y: from + row * step};
  });
  return first ? [{member: first, x: WIDTH / 2, y: TOP}, ...spots] : spots;
}

/** `members` and `leader_id` as /election has them. Many nodes are dots without words. */
export function topology({members, leader_id: leader}) {
  const spots = place([...members].sort((a, b) => a.id.localeCompare(b.id, 'en', {numeric: true})), leader);
  const worded = members.length <= WORDED_MAX;
  const size = !worded ? 7 : members.length > 7 ? 15 : 24;
  const head = spots.find((spot) => spot.member.id === leader);
  const links = head ? spots.filter((spot) => spot !== head) : [];
  const words = members.map((member) => `${member.id} ${member.health}${member.id === leader ? ', leads' : ''}, ${member.load} of ${member.slots} slots`).join('; ');
  return h('div', {class: 'topology'}, s('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `Topology: ${words}`},
    links.map((spot) => s('line', {class: `link ${spot.member.health === 'alive' ? '' : 'off'}`, x1: head.x, y1: head.y, x2: spot.x, y2: spot.y})),
    spots.map((spot) => disc(spot, spot === head ? 24 : size, spot === head, worded))));
}

function disc({member, x, y}, size, leads, worded) {
  const share = member.slots ? Math.min(1, member.load / member.slots) : 0;
  const around = 2 * Math.PI * (size + 5);
  return s('g', {class: `${COLORS[member.health] ?? 'c-muted'} ${leads ? 'leads' : ''}`},
    s('title', null, `${member.id}: ${member.health}, ${member.load} of ${member.slots} slots in use`),
    leads && s('circle', {class: 'ring', cx: x, cy: y, r: size + 10}),
    s('circle', {class: 'disc', cx: x, cy: y, r: size}),
    share > 0 && s('circle', {class: 'arc', cx: x, cy: y, r: size + 5, 'stroke-dasharray': `${share * around} ${around}`, transform: `rotate(-90 ${x} ${y})`}),
    leads && size > 12 && s('path', {class: 'crown', d: `M${x - 9} ${y + 7}h18M${x - 8.5} ${y + 3}l-1-8 5 4.5 4.5-7.5 4.5 7.5 5-4.5-1 8z`}),
    !leads && worded && size > 12 && s('text', {x, y: y + 4, fill: 'currentColor'}, `${member.load}`),
    (worded || leads) && s('text', leads ? {x: x + 44, y: y - 1, class: 'beside'} : {x, y: y + size + 20}, member.id),
    (worded || leads) && s('text', leads ? {class: 'small beside', x: x + 44, y: y + 14} : {class: 'small', x, y: y + size + 34}, leads ? `leads, ${member.load} of ${member.slots} slots` : member.health === 'alive' ? `${member.slots} slots` : member.health));
}

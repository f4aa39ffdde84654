// Light, dark, or whatever the system has; the choice is this browser's.
import {h, icon, fill} from './dom.js';

const KEY = 'hegemon.theme';
const NEXT = {auto: 'light', light: 'dark', dark: 'auto'};
const ICONS = {auto: 'auto', light: 'sun', dark: 'moon'};
const buttons = new Set();

export const theme = () => document.documentElement.dataset.theme ?? 'auto';

export function nextTheme() {
  const chosen = NEXT[theme()];
  if (chosen === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  try {
    if (chosen === 'auto') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, chosen);
  } catch { /* for this page only, then */ }
  for (const button of buttons) show(button);
}

function show(button) {
  fill(button, icon(ICONS[theme()]));
  button.setAttribute('aria-label', `Theme: ${theme()}`);
  button.title = `Theme: ${theme()} (t)`;
}

export function themeButton() {
  const button = h('button', {class: 'button plain square', onclick: nextTheme});
  buttons.add(button);
  show(button);
  return button;
}

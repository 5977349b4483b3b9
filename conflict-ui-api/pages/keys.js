// Keys of the page that is shown, and the overlay that lists them.

import { fill, h } from './dom.js';

let page = [];
let opened = null;

/** The keys of the page: `[[key, what it does, function]]`. A function may be absent, where the page's elements listen themselves. */
export function setKeys(keys) {
  page = keys;
}

const EVERYWHERE = [
  ['g', 'Go to the conflicts', () => document.querySelector('#top a[href="/conflicts"]')?.click()],
  ['?', 'Show or hide this list', () => toggleHelp()],
];

const SHOWN = { ArrowUp: '↑', ArrowDown: '↓', ArrowLeft: '←', ArrowRight: '→', Escape: 'Esc' };

function toggleHelp() {
  if (opened) return opened.close();
  const row = ([key, what]) => h('div', { class: 'key' }, h('dt', {}, key.split(' ').map((one) => h('kbd', {}, SHOWN[one] ?? one))), h('dd', {}, what));
  const dialog = h('dialog', { class: 'help', 'aria-labelledby': 'help-title' },
    h('h2', { id: 'help-title' }, 'Keys'),
    h('dl', {}, [...page, ...EVERYWHERE].map(row)),
    h('form', { method: 'dialog' }, h('button', { class: 'quiet' }, 'Close')));
  dialog.querySelector('form').addEventListener('submit', (event) => { event.preventDefault(); dialog.close(); });
  dialog.addEventListener('close', () => { dialog.remove(); opened = null; });
  opened = dialog;
  document.body.append(dialog);
  dialog.showModal();
}

/** The button that opens the list. */
export function helpButton() {
  return h('button', { type: 'button', class: 'icon', title: 'Keys (?)', 'aria-label': 'Keyboard shortcuts', on: { click: toggleHelp } }, '?');
}

document.addEventListener('keydown', (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const writing = event.target instanceof Element && event.target.matches('textarea, select, input:not([type=radio]):not([type=checkbox])');
  if (writing) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  if (document.querySelector('dialog[open]') && !(opened && event.key === '?')) return;
  const known = [...page, ...EVERYWHERE].find(([key, , act]) => act && key.split(' ').includes(event.key));
  if (!known) return;
  // Enter and the space bar belong to the button or link that has the focus.
  if ((event.key === 'Enter' || event.key === ' ') && event.target.closest?.('a, button, summary')) return;
  event.preventDefault();
  known[2](event);
});

/** Says something at the foot of the page; it stays until the next one or its time is over. `actions` are buttons or links. */
export function notice(content, { actions = [], kind = 'note', milliseconds = 8000 } = {}) {
  const box = document.getElementById('notices');
  const close = h('button', { type: 'button', class: 'icon', 'aria-label': 'Dismiss', on: { click: () => fill(box) } }, '×');
  const shown = h('div', { class: `notice ${kind}` }, h('div', {}, content), actions, close);
  fill(box, shown);
  if (milliseconds) setTimeout(() => { if (shown.isConnected) shown.remove(); }, milliseconds);
}

export function clearNotice() {
  fill(document.getElementById('notices'));
}

// At a site: the edits that are not in the cloud as they are here, and where each one stands.

import { get, request } from './api.js';
import { fill, h } from './dom.js';
import { notice, setKeys } from './keys.js';
import { ago } from './time.js';
import { change, inline, isUuid, short, text } from './values.js';
import { shortId } from './words.js';

export const title = 'My edits';
const PAGE = 100;

const STATES = [
  ['', 'All'],
  ['waiting', 'Waiting', 'Only at this site so far; goes with the next sync.'],
  ['sent', 'Sent', 'Sent, and not answered yet.'],
  ['parked', 'Parked', 'In a conflict; the row shows the cloud’s state until somebody decides.'],
  ['held', 'Held', 'A new row that the cloud could not take; kept here, and in a conflict.'],
];
const OPS = { insert: 'added', update: 'changed', delete: 'deleted' };

let refresh = () => {};
/** Called on every event. */
export function changed() {
  refresh();
}

export function open(main, { query, go, signal }) {
  const state = STATES.some(([name]) => name === query.get('state')) ? query.get('state') : '';
  const summary = h('p', { class: 'dim', role: 'status' });
  const rows = h('tbody');
  const table = h('div', { class: 'table-wrap' }, h('table', { class: 'edits' }, h('thead', {}, h('tr', {},
    ['Where it is', 'Row', 'What changed', 'When'].map((label) => h('th', { scope: 'col' }, label)))), rows));
  const foot = h('div', { class: 'list-foot' });
  const save = h('button', { type: 'button', class: 'quiet', on: { click: download } }, 'Export what is not in the cloud');
  const section = h('section', { class: 'page' }, h('div', { class: 'heading' }, h('h1', {}, 'My edits'), summary, h('span', { class: 'spring' }), save),
    h('nav', { class: 'tabs', 'aria-label': 'Where the edits are' }, STATES.map(([name, label, hint]) => h('a', { href: name ? `/edits?state=${name}` : '/edits', title: hint ?? false, 'aria-current': name === state ? 'page' : false }, label))),
    table, foot);
  fill(main, section);
  let cursor = null;

  async function load() {
    try {
      const page = await get('/api/rejoin/edits', { state, limit: PAGE }, { signal });
      draw(page, false);
    } catch (error) {
      if (signal.aborted) return;
      if (error.code === 'unsupported' && (await get('/api/sync')).server === 'cloud') {
        fill(section, h('h1', {}, 'My edits'), h('p', { class: 'sentence' }, 'This is the cloud: what is written here is in the cloud at once. Edits that wait are at the sites; open the address of your site to see them.'));
      } else {
        fill(summary, h('span', { class: 'problem' }, error.message));
      }
    }
  }

  function draw(page, append) {
    cursor = page.nextCursor;
    const elements = page.data.map(line);
    append ? rows.append(...elements) : fill(rows, elements);
    if (!rows.children.length) {
      rows.append(h('tr', {}, h('td', { colspan: 4, class: 'empty' }, h('h2', {}, state ? 'None' : 'Everything is in the cloud'), h('p', {}, state ? 'No edit is in this state.' : 'Nothing waits at this site.'))));
    }
    const unsent = STATES.find(([name]) => name === state)?.[2];
    fill(summary, unsent ?? '');
    fill(foot, cursor ? h('button', { type: 'button', class: 'quiet', on: { click: async () => draw(await get('/api/rejoin/edits', { state, limit: PAGE, cursor }), true) } }, 'Show more') : '');
  }

  function line(edit) {
    const [, label, hint] = STATES.find(([name]) => name === edit.state) ?? ['', edit.state];
    // Of a new row what a person entered: ids and the time of its making say nothing here.
    const entered = ([name, pair]) => edit.op !== 'insert' || (!isUuid(pair?.[1]) && (pair?.[1] ?? null) !== null && pair[1] !== false && !/^created_?at$/i.test(name));
    const names = edit.op === 'delete' ? [] : Object.entries(edit.changes ?? {}).filter(entered);
    const pieces = names.slice(0, 4).map(([name, pair]) => h('div', {}, h('span', { class: 'column' }, short(name, 40)), ' ',
      edit.op === 'insert' ? inline(pair?.[1], 40) : change(pair?.[0], pair?.[1])));
    return h('tr', {},
      h('td', { class: 'where' }, h('span', { class: `state ${edit.state}`, title: hint ?? false }, label), edit.conflict ? h('a', { class: 'to-conflict', href: `/conflicts/${edit.conflict}` }, 'conflict') : ''),
      h('td', {}, h('span', { class: 'table' }, text(edit.tableName)), h('span', { class: 'record', title: edit.recordId }, text(shortId(edit.recordId)))),
      h('td', {}, h('span', { class: 'op' }, OPS[edit.op] ?? text(edit.op)), pieces, names.length > 4 ? h('div', { class: 'dim' }, `and ${names.length - 4} more`) : ''),
      h('td', { class: 'dim' }, edit.editedAt ? ago(edit.editedAt) : '', edit.editedBy ? h('div', {}, short(edit.editedBy, 30)) : ''));
  }

  async function download() {
    save.disabled = true;
    try {
      const answer = await request('GET', '/api/rejoin/edits?format=ndjson', { accept: 'application/x-ndjson' });
      const url = URL.createObjectURL(await answer.blob());
      const link = h('a', { href: url, download: `edits-${new Date().toISOString().slice(0, 16).replaceAll(':', '')}.ndjson` });
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      notice('Exported: one line of JSON per row.', { kind: 'good' });
    } catch (error) {
      notice(error.message, { kind: 'bad' });
    } finally {
      save.disabled = false;
    }
  }

  let timer = null;
  refresh = () => { clearTimeout(timer); timer = setTimeout(load, 300); };
  signal.addEventListener('abort', () => { clearTimeout(timer); refresh = () => {}; });
  setKeys([['e', 'Export what is not in the cloud', download], ['Escape', 'To the conflicts', () => go('/conflicts')]]);
  load();
}

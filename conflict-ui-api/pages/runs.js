// How the sync stands, and its last runs.

import { get, post } from './api.js';
import { count, fill, h } from './dom.js';
import { notice, setKeys } from './keys.js';
import { mayRun } from './session.js';
import { ago, at } from './time.js';
import { short, text } from './values.js';

export const title = 'Sync';
const DIRECTIONS = { UPLOAD: 'Up', DOWNLOAD: 'Down', BIDIRECTIONAL: 'Both ways' };

let refresh = () => {};
/** Called on every event. */
export function changed() {
  refresh();
}

export function open(main, { signal, refresh: refreshBar }) {
  const state = h('div', { class: 'facts-line' });
  const rows = h('tbody');
  const heading = h('div', { class: 'heading' }, h('h1', {}, 'Sync'));
  fill(main, h('section', { class: 'page' }, heading, state,
    h('h2', {}, 'Last runs'), h('div', { class: 'table-wrap' }, h('table', {}, h('thead', {}, h('tr', {}, ['Started', 'Site', 'Direction', 'Status', 'Rows', 'Conflicts'].map((label, at) => h('th', { scope: 'col', class: at > 3 ? 'number' : false }, label)))), rows))));

  async function load() {
    try {
      const [status, log] = await Promise.all([get('/api/sync', {}, { signal }), get('/api/sync/log', { limit: 30 }, { signal })]);
      draw(status, log.data);
    } catch (error) {
      if (!signal.aborted) fill(state, h('p', { class: 'problem' }, error.message));
    }
  }

  function draw(status, runs) {
    const cloud = status.server === 'cloud';
    const fact = (label, ...value) => h('div', { class: 'fact' }, h('span', { class: 'dim' }, label), h('b', {}, value));
    fill(state,
      cloud ? '' : fact('Cloud', status.online ? 'reachable' : 'not reachable'),
      cloud ? '' : fact('Waiting here', count(status.pending, 'row'), status.oldestPendingAt ? h('small', {}, ' oldest ', ago(status.oldestPendingAt)) : ''),
      cloud ? '' : fact('Held', String(status.held)),
      fact('Open conflicts', h('a', { href: '/conflicts' }, status.conflicts.toLocaleString('en'))),
      status.lastCheckedAt ? fact('Last checked', ago(status.lastCheckedAt)) : '',
      ...(status.numbers ?? []).filter((one) => one.left * 5 < one.of).map((one) => fact('Numbers left', `${short(one.table, 40)}: ${one.left.toLocaleString('en')}`)),
      status.paused ? fact('Daemon', 'paused') : '',
      status.lastError ? h('p', { class: 'problem' }, text(status.lastError)) : '');
    if (!cloud && mayRun() && !heading.querySelector('button')) heading.append(h('span', { class: 'spring' }), h('button', { type: 'button', class: 'primary', on: { click: run } }, 'Sync now'));
    fill(rows, runs.length ? runs.map(line) : h('tr', {}, h('td', { colspan: 6, class: 'empty' }, 'No run has moved anything yet.')));
  }

  function line(run) {
    return h('tr', {}, h('td', {}, at(run.startedAt)), h('td', {}, short(run.serverId, 40)), h('td', {}, DIRECTIONS[run.syncDirection] ?? ''),
      h('td', {}, h('span', { class: `state ${String(run.status).toLowerCase()}` }, String(run.status).toLowerCase()),
        (Array.isArray(run.errors) ? run.errors : []).slice(0, 3).map((error) => h('p', { class: 'problem' }, short(String(error?.message ?? error), 300)))),
      h('td', { class: 'number' }, run.recordsSynced.toLocaleString('en')), h('td', { class: 'number' }, run.conflictsDetected.toLocaleString('en')));
  }

  async function run(event) {
    event.target.disabled = true;
    try {
      const status = await post('/api/sync/run', { direction: 'BIDIRECTIONAL' });
      notice(status.lastError ? `The run failed: ${status.lastError}` : 'In step with the cloud.', { kind: status.lastError ? 'bad' : 'good' });
    } catch (error) {
      notice(error.message, { kind: 'bad' });
    }
    event.target.disabled = false;
    refreshBar();
    load();
  }

  let timer = null;
  refresh = () => { clearTimeout(timer); timer = setTimeout(load, 300); };
  signal.addEventListener('abort', () => { clearTimeout(timer); refresh = () => {}; });
  setKeys([]);
  load();
}

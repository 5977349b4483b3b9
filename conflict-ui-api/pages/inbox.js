// The inbox: the conflicts of one cause are one line. With `?group=` the conflicts of one line, each by itself.

import { get, withQuery } from './api.js';
import { openBulk } from './bulk.js';
import { count, enumerate, fill, h } from './dom.js';
import { setKeys } from './keys.js';
import { mayDecide } from './session.js';
import { ago } from './time.js';
import { short, text } from './values.js';
import { KINDS, RESOLUTIONS, kindName, rowName } from './words.js';

export const title = 'Conflicts';
const PAGE = 50;

const VIEWS = [
  ['open', 'Open', { resolution: 'PENDING' }],
  ['cloud', 'Cloud’s kept', { resolution: 'CLOUD_WINS', byPolicy: false }],
  ['site', 'Site’s taken', { resolution: 'LOCAL_WINS', byPolicy: false }],
  ['hand', 'By hand', { resolution: 'MANUAL' }],
  ['policy', 'Lost by policy', { byPolicy: true }],
];

let refresh = () => {};
/** Called on every event. */
export function changed() {
  refresh();
}

export function open(main, { query, go, signal, server }) {
  const group = query.get('group');
  const view = VIEWS.find(([name]) => name === query.get('view')) ?? VIEWS[0];
  const chosen = { kind: query.get('kind') ?? '', table: query.get('table') ?? '', site: query.get('site') ?? '' };
  const sort = query.get('sort') ?? 'newest';
  const filter = { ...view[2], ...chosen, group };
  const selected = new Map();
  let lines = [];
  let cursor = null;
  let busy = false;

  const summary = h('p', { class: 'dim', role: 'status' });
  const head = h('div', { class: 'list-head' });
  const list = h('ol', { class: 'lines', 'aria-label': 'Conflicts' });
  const foot = h('div', { class: 'list-foot' });
  const bulk = h('div', { class: 'bar', role: 'region', 'aria-label': 'Selected conflicts', hidden: true });
  const filters = h('div', { class: 'filters' });
  fill(main, h('section', { class: 'page' },
    group ? h('p', { class: 'crumbs' }, h('a', { href: '/conflicts' }, 'Conflicts'), ' / one cause') : '',
    h('div', { class: 'heading' }, h('h1', {}, group ? 'Conflicts of one cause' : 'Conflicts'), summary),
    head, filters, list, foot, bulk));

  const toPath = (changes) => withQuery('/conflicts', { view: view[0] === 'open' ? '' : view[0], ...chosen, group, sort: sort === 'newest' ? '' : sort, ...changes });
  const id = (line) => line.id;
  const asGroup = !group;

  function drawHead(counts) {
    fill(head, h('nav', { class: 'tabs', 'aria-label': 'Which conflicts' }, VIEWS.map(([name, label]) => {
      const path = toPath({ view: name === 'open' ? '' : name });
      return h('a', { href: path, 'aria-current': name === view[0] ? 'page' : false }, label);
    })));
    const select = (name, label, all, options) => h('label', { class: 'select' }, h('span', { class: 'hidden' }, label),
      h('select', { 'data-filter': name, class: chosen[name] ? 'on' : '', on: { change: (event) => go(toPath({ [name]: event.target.value })) } },
        h('option', { value: '' }, all),
        options.map(([value, words]) => h('option', { value, selected: chosen[name] === value }, words))));
    const options = (by, words) => {
      const known = new Map(Object.entries(counts?.[by] ?? {}));
      const name = { byKind: 'kind', byTable: 'table', bySite: 'site' }[by];
      if (chosen[name] && !known.has(chosen[name])) known.set(chosen[name], 0);
      return Array.from(known).sort((a, b) => b[1] - a[1]).map(([value, number]) => [value, `${words(value)} (${number.toLocaleString('en')})`]);
    };
    const cut = (name) => (name.length > 40 ? `${name.slice(0, 39)}…` : name);
    fill(filters,
      select('kind', 'Kind', 'All kinds', options('byKind', (kind) => KINDS[kind] ?? kind)),
      select('table', 'Table', 'All tables', options('byTable', cut)),
      select('site', 'Site', 'All sites', options('bySite', cut)),
      asGroup ? '' : h('label', { class: 'select' }, h('span', { class: 'hidden' }, 'Order'), h('select', { on: { change: (event) => go(toPath({ sort: event.target.value })) } },
        [['newest', 'Newest first'], ['oldest', 'Oldest first'], ['record', 'By row']].map(([value, words]) => h('option', { value, selected: sort === value }, words)))),
      Object.values(chosen).some(Boolean) ? h('a', { class: 'link', href: toPath({ kind: '', table: '', site: '' }) }, 'Clear') : '',
      h('span', { class: 'spring' }),
      mayDecide() && view[0] === 'open' && counts?.total > 0
        ? h('button', { type: 'button', class: 'quiet', on: { click: () => decide([{ filter: bare(filter), expected: counts.total }]) } }, `Decide all ${counts.total.toLocaleString('en')}…`)
        : '');
  }

  function drawList() {
    const active = document.activeElement?.closest?.('.line')?.dataset.id;
    const path = (line) => (asGroup && line.conflicts > 1 ? withQuery('/conflicts', { group: line.id, view: view[0] === 'open' ? '' : view[0] }) : `/conflicts/${asGroup ? line.example.id : line.id}`);
    fill(list, lines.map((line) => (asGroup ? groupLine : conflictLine)(line, path(line), checkbox(line))));
    if (!lines.length) list.append(h('li', { class: 'empty' }, emptyWords()));
    if (active) list.querySelector(`.line[data-id="${CSS.escape(active)}"] a`)?.focus();
    fill(foot, cursor ? h('button', { type: 'button', class: 'quiet', on: { click: more } }, 'Show more') : '');
    drawBulk();
  }

  function emptyWords() {
    if (Object.values(chosen).some(Boolean)) return [h('h2', {}, 'Nothing matches'), h('p', {}, 'No conflict is of this kind, table and site.')];
    if (view[0] !== 'open') return [h('h2', {}, 'None so far'), h('p', {}, 'Decisions show here once there are some.')];
    return [h('h2', {}, 'Nothing to decide'), h('p', {}, 'Every edit found its place. New conflicts show here by themselves.')];
  }

  function checkbox(line) {
    if (!mayDecide() || view[0] !== 'open') return h('span', { class: 'tick' });
    return h('label', { class: 'tick' }, h('span', { class: 'hidden' }, 'Select'), h('input', { type: 'checkbox', checked: selected.has(id(line)), on: {
      change: (event) => { event.target.checked ? selected.set(id(line), line) : selected.delete(id(line)); drawBulk(); },
    } }));
  }

  function drawBulk() {
    bulk.hidden = !selected.size;
    if (!selected.size) return fill(bulk);
    const number = Array.from(selected.values()).reduce((sum, line) => sum + (asGroup ? line.conflicts : 1), 0);
    fill(bulk, h('p', {}, h('b', {}, count(number, 'conflict')), ' selected'),
      h('button', { type: 'button', class: 'quiet', on: { click: () => { selected.clear(); drawList(); } } }, 'Clear'),
      h('button', { type: 'button', class: 'primary', on: { click: decideSelected } }, 'Decide…'));
  }

  function decideSelected() {
    decide(Array.from(selected.values(), (line) => asGroup
      ? { filter: bare({ ...filter, group: line.id }), expected: line.conflicts }
      : { conflict: line }));
  }

  function decide(targets) {
    openBulk(targets, { site: server()?.server, done: () => { selected.clear(); load(); } });
  }

  async function load() {
    if (busy || signal.aborted) return;
    busy = true;
    try {
      const wanted = Math.max(PAGE, Math.min(lines.length, 200));
      const [page, counts] = await Promise.all([fetchPage(null, wanted), get('/api/conflicts/counts', filter, { signal })]);
      lines = page.data;
      cursor = page.nextCursor;
      // What is selected stays so while it is there.
      for (const key of selected.keys()) {
        const now = lines.find((line) => id(line) === key);
        now ? selected.set(key, now) : selected.delete(key);
      }
      drawHead(counts);
      fill(summary, summaryWords(counts));
      drawList();
    } catch (error) {
      if (!signal.aborted) fill(summary, h('span', { class: 'problem' }, error.message));
    } finally {
      busy = false;
    }
  }

  function summaryWords(counts) {
    if (!counts.total) return '';
    const many = asGroup && lines.length && !cursor ? `, from ${count(lines.length, 'cause')}` : '';
    return `${count(counts.total, 'conflict')}${view[0] === 'open' ? ' to decide' : ''}${many}`;
  }

  function fetchPage(after, limit = PAGE) {
    return asGroup
      ? get('/api/conflicts/groups', { ...filter, limit, cursor: after }, { signal })
      : get('/api/conflicts', { ...filter, sort, limit, cursor: after }, { signal });
  }

  async function more() {
    const page = await fetchPage(cursor);
    const known = new Set(lines.map(id));
    lines = lines.concat(page.data.filter((line) => !known.has(id(line))));
    cursor = page.nextCursor;
    drawList();
  }

  function step(by) {
    const links = Array.from(list.querySelectorAll('.line a'));
    const at = links.indexOf(document.activeElement);
    links[Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
  }

  let timer = null;
  refresh = () => { clearTimeout(timer); timer = setTimeout(load, 250); };
  signal.addEventListener('abort', () => { clearTimeout(timer); refresh = () => {}; });
  const keys = [
    ['j ArrowDown', 'Next line', () => step(1)],
    ['k ArrowUp', 'Line before', () => step(-1)],
    ['Enter', 'Open it', () => document.activeElement?.click?.()],
    ['/', 'Filter', () => filters.querySelector('select')?.focus()],
  ];
  if (mayDecide()) {
    keys.push(['x', 'Select it', () => document.activeElement?.closest('.line')?.querySelector('input')?.click()]);
    keys.push(['b', 'Decide what is selected', () => selected.size && decideSelected()]);
  }
  if (group) keys.push(['Escape', 'Back to the inbox', () => go('/conflicts')]);
  else keys.push(['Escape', 'Clear the selection', () => { selected.clear(); drawList(); }]);
  setKeys(keys);
  drawHead(null);
  load();
}

/** A filter without what is not given: how the bulk route takes it. */
function bare(filter) {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== '' && value !== null && value !== undefined));
}

const chip = (kind) => h('span', { class: `kind ${KINDS[kind] ? kind : ''}` }, kindName(kind));

function columnWords(names) {
  if (!names.length) return '';
  const some = names.slice(0, 3).map((name) => h('span', { class: 'column' }, short(name, 30)));
  return h('span', {}, enumerate(names.length > 3 ? some.concat(`${names.length - 3} more`) : some));
}

function groupLine(line, path, tick) {
  const single = line.conflicts <= 1;
  const name = single ? short(rowName(line.example), 70) : count(line.conflicts, 'row');
  return h('li', { class: 'line', 'data-id': line.id }, tick,
    h('a', { href: path },
      h('span', { class: 'what' }, h('span', { class: 'name' }, name), h('span', { class: 'table' }, text(line.tableName)), single ? '' : h('span', { class: 'many' }, 'one cause')),
      h('span', { class: 'about' }, chip(line.kind), columnWords(line.columns),
        line.dependents ? h('span', { class: 'dim' }, count(line.dependents, 'row depends', 'rows depend'), single ? ' on it' : ' on them') : '', decidedWords(line.example, single))),
    h('span', { class: 'from' }, short(line.site, 40)),
    h('span', { class: 'age' }, ago(line.lastAt)));
}

function conflictLine(line, path, tick) {
  return h('li', { class: 'line', 'data-id': line.id }, tick,
    h('a', { href: path },
      h('span', { class: 'what' }, h('span', { class: 'name' }, short(rowName(line), 70)), h('span', { class: 'table' }, text(line.tableName))),
      h('span', { class: 'about' }, chip(line.kind), columnWords(line.columns),
        line.dependents ? h('span', { class: 'dim' }, count(line.dependents, 'row depends', 'rows depend'), ' on it') : '', decidedWords(line, true))),
    h('span', { class: 'from' }, short(line.site, 40)),
    h('span', { class: 'age' }, ago(line.createdAt)));
}

function decidedWords(conflict, single) {
  if (conflict.decidedNotSent) return h('span', { class: 'sent' }, 'decided, not sent yet');
  if (conflict.resolution === 'PENDING' || !single) return '';
  return h('span', { class: 'dim' }, RESOLUTIONS[conflict.resolution], conflict.resolvedBy ? [' · ', short(conflict.resolvedBy, 30)] : '');
}


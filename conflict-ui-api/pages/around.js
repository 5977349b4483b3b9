// What stands around a conflict: what would go besides, what hangs from it, what happened to the row.

import { count, enumerate, h } from './dom.js';
import { at } from './time.js';
import { change, short, text } from './values.js';
import { kindName, shortId } from './words.js';

export function around(detail, { way }) {
  return [besides(detail, way), dependents(detail, way), history(detail), record(detail)];
}

const EFFECTS = { deleted: 'is deleted', cleared: 'loses its reference', forbids: 'forbids the delete' };

/** Only where the way that is chosen touches other rows. */
function besides(detail, way) {
  if (!way?.besides || !detail.besides?.length) return '';
  const total = detail.besidesTotal ?? detail.besides.length;
  return h('section', { class: 'card warn' }, h('h2', {}, `This also touches ${count(total, 'other row')}`),
    h('ul', { class: 'plain' }, detail.besides.map((row) => h('li', {}, h('span', { class: 'table' }, text(row.tableName)), ' ', text(shortId(row.recordId)), ' ', h('b', {}, EFFECTS[row.effect] ?? text(row.effect))))),
    total > detail.besides.length ? h('p', { class: 'dim' }, `and ${(total - detail.besides.length).toLocaleString('en')} more`) : '');
}

function dependents(detail, way) {
  const tree = detail.dependentsTree ?? [];
  if (!tree.length) return detail.root ? h('section', { class: 'card' }, h('p', {}, 'This row waits for another one. ', h('a', { href: `/conflicts/${detail.root}` }, 'Decide that one first'), '.')) : '';
  const drops = way?.resolution === 'CLOUD_WINS' && !way.way;
  const children = new Map();
  for (const node of tree) children.set(node.parent, (children.get(node.parent) ?? []).concat(node));
  const seen = new Set();
  const branch = (id) => {
    const nodes = (children.get(id) ?? []).filter((node) => !seen.has(node.id));
    if (!nodes.length) return '';
    nodes.forEach((node) => seen.add(node.id));
    return h('ul', { class: 'tree' }, nodes.map((node) => h('li', {}, h('a', { href: `/conflicts/${node.id}` }, h('span', { class: 'table' }, text(node.tableName)), ' ', text(shortId(node.recordId))),
      ' ', h('span', { class: 'dim' }, kindName(node.kind)), branch(node.id))));
  };
  const top = branch(detail.id);
  // What names a parent that is not shown hangs from the top.
  const lost = tree.filter((node) => !seen.has(node.id));
  return h('section', { class: drops ? 'card warn' : 'card' }, h('h2', {}, count(tree.length, 'row depends', 'rows depend'), ' on this one'),
    h('p', { class: 'dim' }, drops ? 'They go with it: each is removed at its site and kept in a conflict of its own.' : 'They were held with it and go in after it.'),
    top, lost.length ? h('ul', { class: 'tree' }, lost.map((node) => h('li', {}, h('a', { href: `/conflicts/${node.id}` }, text(node.tableName), ' ', text(shortId(node.recordId)))))) : '');
}

const OPS = { insert: 'added it', update: 'changed', delete: 'deleted it' };

function history(detail) {
  const entries = detail.history ?? [];
  if (!entries.length) return '';
  return h('section', { class: 'card' }, h('h2', {}, 'History of the row'), h('ol', { class: 'history' }, entries.map((entry) => h('li', {},
    h('span', { class: 'when dim' }, at(entry.at)),
    h('span', {}, h('b', {}, short(entry.author, 40)), entry.site ? [' at ', short(entry.site, 40)] : ' at the cloud', ' ', OPS[entry.op] ?? text(entry.op), ' ',
      entry.op === 'update' ? changes(entry.changes) : '')))));
}

function changes(changed) {
  const all = Object.entries(changed ?? {});
  const some = all.slice(0, 5).map(([name, pair]) => h('span', {}, h('span', { class: 'column' }, short(name, 30)), ' ', change(pair?.[0], pair?.[1])));
  return enumerate(all.length > 5 ? some.concat(`${all.length - 5} more`) : some);
}

function record(detail) {
  const fact = (name, value) => (value === null || value === undefined ? '' : h('div', {}, h('dt', {}, name), h('dd', {}, value)));
  return h('details', { class: 'card facts', 'data-keep': 'facts' }, h('summary', {}, 'Details'), h('dl', {},
    fact('Row', text(detail.recordId)), fact('Against', detail.against ? text(detail.against) : null), fact('Push', String(detail.push)),
    fact('Version at the cloud', detail.cloudVersion === null ? null : String(detail.cloudVersion)), fact('Version at the site', detail.localVersion === null ? null : String(detail.localVersion)),
    fact('Revision', String(detail.revision)), fact('Conflict', text(detail.id))));
}

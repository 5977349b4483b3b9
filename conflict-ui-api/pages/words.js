// What happened, in plain sentences.

import { enumerate, h, own } from './dom.js';
import { on, since } from './time.js';
import { inline, isUuid, short, text } from './values.js';

/** What each kind is called. */
export const KINDS = {
  update_update: 'Both changed',
  update_delete: 'Changed, but deleted',
  delete_update: 'Deleted, but changed',
  insert_insert: 'Same key twice',
  unique: 'Value taken',
  foreign_key: 'Missing reference',
  check: 'Refused by a rule',
  schema: 'Schema changed',
  rejected: 'Not allowed',
};

export function kindName(kind) {
  return own(KINDS, kind) ?? String(kind);
}

/** What each resolution is called. */
export const RESOLUTIONS = {
  PENDING: 'Open',
  CLOUD_WINS: 'The cloud’s stands',
  LOCAL_WINS: 'The site’s was taken',
  MANUAL: 'Decided by hand',
};

/** A record's id for lists: of a uuid the end, which differs from row to row. */
export function shortId(id) {
  return isUuid(id) ? `…${id.slice(-12)}` : id;
}

const NAMES = ['name', 'title', 'label', 'show_name', 'display_name', 'model', 'code', 'email', 'type'];

/** What a person would call the row; its id where nothing says it. */
export function rowName(conflict) {
  for (const data of [conflict.localData, conflict.current, conflict.cloudData, conflict.baseData]) {
    for (const name of NAMES) {
      const value = own(data, name);
      if (typeof value === 'string' && value.trim()) return value;
    }
  }
  return shortId(conflict.recordId);
}

const column = (name) => h('span', { class: 'column' }, text(name));
const columns = (names) => enumerate(names.slice(0, 4).map(column).concat(names.length > 4 ? [`${names.length - 4} more columns`] : []));

/** Who did it at the site: `Site Studio A`, `Ann at site Studio A`. */
function atSite(conflict) {
  const site = h('b', {}, text(conflict.site));
  const by = conflict.localModifiedBy;
  return by && by !== `site:${conflict.site}` ? [h('b', {}, text(by)), ' at site ', site] : ['Site ', site];
}

function atCloud(conflict, otherwise) {
  const by = conflict.cloudModifiedBy;
  return by ? [h('b', {}, text(by)), ' '] : [otherwise, ' '];
}

const when = (words, iso) => (iso ? [' ', words(iso)] : []);

/** `changed rate to 59.94`, `changed rate and name`, `changed this row`. */
function changed(conflict) {
  const names = conflict.columns ?? [];
  if (names.length === 1) return ['changed ', column(names[0]), ' to ', inline(own(conflict.localData, names[0]))];
  return names.length ? ['changed ', columns(names)] : ['changed this row'];
}

/** Since when the cloud has its value: the history may know better than the row's last change. */
function sinceOf(conflict, name) {
  return conflict.fields?.find((field) => field.name === name)?.cloudSince ?? conflict.cloudUpdatedAt;
}

const SENTENCES = {
  update_update(conflict) {
    const names = conflict.columns ?? [];
    const start = [atSite(conflict), ' ', changed(conflict), when(on, conflict.localUpdatedAt)];
    if (names.length === 1) return [start, '; the cloud had ', inline(own(conflict.cloudData, names[0])), when(since, sinceOf(conflict, names[0])), '.'];
    return [start, '; ', atCloud(conflict, 'somebody'), 'had changed ', names.length ? 'them' : 'it', ' at the cloud', when(on, conflict.cloudUpdatedAt), '.'];
  },
  update_delete: (conflict) => [atSite(conflict), ' ', changed(conflict), when(on, conflict.localUpdatedAt), '; the row was deleted at the cloud',
    when(on, conflict.cloudUpdatedAt), conflict.cloudModifiedBy ? [' by ', h('b', {}, text(conflict.cloudModifiedBy))] : '', '.'],
  delete_update: (conflict) => [atSite(conflict), ' deleted this row', when(on, conflict.localUpdatedAt), '; at the cloud ',
    conflict.columns?.length ? [columns(conflict.columns), ' had changed'] : 'it is still in use', when(on, conflict.cloudUpdatedAt), '.'],
  insert_insert: (conflict) => [atSite(conflict), ' added this row', when(on, conflict.localUpdatedAt), '; the cloud has had another row under the same key',
    when(since, conflict.cloudUpdatedAt), '.'],
  unique(conflict) {
    const names = conflict.columns ?? [];
    const what = names.length === 1 ? [column(names[0]), ' ', inline(own(conflict.localData, names[0]))] : names.length ? columns(names) : ['a value'];
    return [atSite(conflict), conflict.held ? ' added a row with ' : ' set ', what, when(on, conflict.localUpdatedAt),
      '; another row at the cloud has had ', names.length > 1 ? 'these values' : 'this value', when(since, conflict.cloudUpdatedAt), '.'];
  },
  foreign_key: (conflict) => [atSite(conflict), conflict.held ? ' added this row' : ' changed this row', when(on, conflict.localUpdatedAt), '; the row that ',
    conflict.columns?.length ? columns(conflict.columns) : 'it', conflict.columns?.length > 1 ? ' refer to' : ' refers to', ' is not at the cloud.'],
  check: (conflict) => [atSite(conflict), conflict.held ? ' added this row' : [' ', changed(conflict)], when(on, conflict.localUpdatedAt),
    '; the cloud’s database does not accept it.'],
  schema: (conflict) => [atSite(conflict), ' ', changed(conflict), when(on, conflict.localUpdatedAt), '; the cloud’s schema has changed since and no longer fits.'],
  rejected: (conflict) => [atSite(conflict), ' ', conflict.held ? 'added this row' : changed(conflict), when(on, conflict.localUpdatedAt),
    '; the cloud does not accept this edit.'],
};

/** The plain sentence for what happened. */
export function sentence(conflict) {
  return (own(SENTENCES, conflict.kind) ?? SENTENCES.rejected)(conflict);
}

/** How a conflict was decided, or null while it is open. */
export function verdict(conflict) {
  if (conflict.resolution === 'PENDING') return null;
  const stands = { CLOUD_WINS: 'the cloud’s state stands', LOCAL_WINS: 'the site’s edit was taken', MANUAL: 'the values were chosen by hand' };
  const policy = conflict.policy ?? (conflict.resolvedBy?.startsWith('policy:') ? conflict.resolvedBy.slice(7) : null);
  const who = policy ? ['The policy ', h('b', {}, policy)] : [h('b', {}, short(conflict.resolvedBy ?? 'Somebody', 40))];
  return [who, ' decided this', when(on, conflict.resolvedAt), ': ', own(stands, conflict.resolution) ?? 'it is decided', '.'];
}

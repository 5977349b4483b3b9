// What can be decided about a conflict, and what a decision sends. Pure: no elements, no requests.

import { own } from './dom.js';
import { same, sum, tooLarge } from './values.js';

/**
 * The fields of a conflict, those that matter first: what the API says of each (`name`, `base`, `cloud`, `local`, `type`, `group`, ..), and
 * `clashed`: somebody has to decide it; `differs`: the sides are not the same; `edited`: it is part of what the site
 * wrote (the rest of the site's row is what the cloud had then); `former`: the table no longer has it; `others`: its
 * `cloud` is of another row, which stands against this one.
 */
export function fields(detail) {
  // A row that is gone at the cloud is shown as it was.
  const gone = detail.current === null ? detail.cloudData : null;
  const made = detail.held || !detail.baseData || detail.current === null;
  const all = (detail.fields ?? withoutVerdicts(detail)).map((field) => {
    const cloud = field.cloud === undefined ? own(gone, field.name) : field.cloud;
    const clashed = detail.columns.includes(field.name) || (!detail.columns.length && field.verdict === 'clash');
    const differs = clashed || (field.local !== undefined && cloud !== undefined && !same(cloud, field.local));
    const edited = made || field.base !== undefined;
    const former = Boolean(detail.fields) && !field.type;
    return { ...field, cloud, clashed, differs, edited, former, others: Boolean(detail.against), group: field.group ?? [], editable: field.editable ?? true };
  });
  return all.sort((a, b) => Number(b.clashed) - Number(a.clashed) || Number(b.differs) - Number(a.differs));
}

function withoutVerdicts(detail) {
  const names = new Set(detail.columns);
  for (const data of [detail.localData, detail.current, detail.baseData]) for (const name of Object.keys(data ?? {})) names.add(name);
  return Array.from(names, (name) => ({ name, base: own(detail.baseData, name), cloud: own(detail.current, name), local: own(detail.localData, name) }));
}

/** The fields that are decided together with this one: columns declared a group clash as one. */
export function together(all, field) {
  return all.filter((other) => other.name === field.name || (field.group.includes(other.name) && other.differs));
}

const DROP_INSERT = 'The cloud stays as it is; the row is removed at its site and kept in this conflict.';
const DROP_EDIT = 'The cloud stays as it is; the site’s edit is put away and kept in this conflict.';

const again = (drop) => (detail) => [
  { id: 'again', label: 'Offer it again', hint: 'For when the cause is gone: the edit goes in as it was made.', resolution: 'LOCAL_WINS', shows: true },
  { id: 'edit', label: 'Change it, then offer it again', hint: 'Write what the cloud can accept.', resolution: 'MANUAL', edits: true },
  { id: 'drop', label: drop ?? (detail.held ? 'Drop the site’s row' : 'Keep the cloud’s row'), hint: detail.held ? DROP_INSERT : DROP_EDIT, resolution: 'CLOUD_WINS', shows: true },
];

const WAYS = {
  update_delete: () => [
    { id: 'revive', label: 'Bring the row back', hint: 'With the site’s values, or any that you pick.', resolution: 'LOCAL_WINS', picks: true, start: 'local' },
    { id: 'drop', label: 'Leave it deleted', hint: DROP_EDIT, resolution: 'CLOUD_WINS', shows: true },
  ],
  delete_update: () => [
    { id: 'keep', label: 'Keep the row', hint: 'It stays as it is at the cloud, and comes back at the site.', resolution: 'CLOUD_WINS', shows: true },
    { id: 'delete', label: 'Delete it after all', hint: 'It goes everywhere, in spite of the later change.', resolution: 'LOCAL_WINS', shows: true, besides: true, danger: true },
  ],
  unique: () => [
    { id: 'both', label: 'Keep both, change the site’s', hint: 'Give the site’s row another value.', resolution: 'MANUAL', edits: true },
    { id: 'same', label: 'They are one and the same', hint: 'The two become the cloud’s row; what refers to the site’s follows.', resolution: 'CLOUD_WINS', way: 'same_row', picks: true, start: 'cloud' },
    { id: 'drop', label: 'Keep only the cloud’s', hint: DROP_INSERT, resolution: 'CLOUD_WINS', shows: true },
    { id: 'replace', label: 'Keep only the site’s', hint: 'The cloud’s row is deleted, the site’s takes its place.', resolution: 'LOCAL_WINS', shows: true, besides: true, danger: true },
  ],
  foreign_key: again(),
  check: again(),
  rejected: again(),
  schema: (detail) => again('Put it away')(detail).toReversed(),
};

/** The ways to decide; null where it is only a matter of picking values. */
export function ways(detail) {
  return own(WAYS, detail.kind)?.(detail) ?? null;
}

/** What is picked at first: the cloud's value where nothing clashed, nothing where something did. */
export function initialPicks(all, way) {
  const picks = new Map();
  for (const field of all) {
    if (way?.edits || way?.start === 'local') picks.set(field.name, siteEdit(field));
    else if (way?.start) picks.set(field.name, pick(field, way.start));
    else if (!field.clashed && all.some((other) => other.clashed)) picks.set(field.name, pick(field, 'cloud'));
  }
  return picks;
}

/** The site's edit over the cloud's row: what it wrote, on top of what was added meanwhile where its column only adds up; the cloud's value in all else. */
function siteEdit(field) {
  if (field.others) return pick(field, 'local');
  if (!field.edited && field.cloud !== undefined) return pick(field, 'cloud');
  const added = field.policy === 'add' ? sum(field.cloud, field.local, field.base) : undefined;
  return added === undefined || same(added, field.local) ? pick(field, 'local') : { side: 'free', value: added };
}

/** A pick remembers the value that was seen, so that a later state cannot change what was meant. */
export function pick(field, side) {
  return { side, value: field[side] };
}

/** The picks on a newer state: what a side's value was when it was picked stays picked, as a value of one's own if the side has moved on. */
export function carry(picks, now) {
  const carried = new Map();
  for (const field of now) {
    const known = picks.get(field.name);
    if (!known) continue;
    const moved = known.side !== 'free' && !same(known.value, field[known.side]);
    carried.set(field.name, moved ? { side: 'free', value: known.value, was: known.side } : known);
  }
  return carried;
}

/**
 * What a decision would send and change: `{body, changes: [{name, from, to}], missing: [names], fault}`. `way` is one of `ways`, or null.
 */
export function plan(detail, all, way, picks) {
  const row = detail.current;
  const body = { resolution: way?.resolution, revision: detail.revision };
  if (detail.cloudEtag !== null) body.cloudEtag = detail.cloudEtag;
  if (way?.way) body.way = way.way;
  // What else goes or changes was shown: the decision says so.
  const besides = (sent) => (sent.resolution === 'LOCAL_WINS' && !way?.way && detail.besidesDigest ? { ...sent, besides: detail.besidesDigest } : sent);
  const forbidden = way?.besides && detail.besides?.some((row) => row.effect === 'forbids') ? 'A row that refers to this one forbids its delete.' : null;
  if (way?.shows) return { body: besides(body), changes: [], missing: [], fault: forbidden };

  const open = all.filter((field) => field.differs || picks.has(field.name));
  const missing = open.filter((field) => !picks.has(field.name)).map((field) => field.name);
  const picked = open.filter((field) => picks.has(field.name)).map((field) => ({ field, to: picks.get(field.name).value }));
  const usable = picked.filter(({ to }) => to !== undefined);
  const differs = (from) => usable.filter(({ field, to }) => !same(to, own(from, field.name)));
  if (way?.edits || way?.id === 'revive') {
    const changed = usable.filter(({ field, to }) => !same(to, siteEdit(field).value));
    if (way.edits && !changed.length) return { body, changes: [], missing, fault: 'Change at least one value.' };
    if (row === null || detail.held) return anew(besides, body, detail, differs, missing);
    return over(body, usable, missing);
  }
  const changes = differs(row);
  if (!changes.length) return finish({ ...body, resolution: 'CLOUD_WINS' }, [], row, missing);
  const wholeEdit = open.every((field) => {
    const to = picks.get(field.name)?.value;
    return field.clashed || !detail.columns.length ? same(to, field.local) : same(to, field.cloud);
  });
  return finish(besides({ ...body, resolution: wholeEdit ? 'LOCAL_WINS' : 'MANUAL' }), changes, row, missing);
}

/** The site's row where the cloud has none: the cloud has all of the row that was sent, so that only what is changed of it is sent. */
function anew(besides, body, detail, differs, missing) {
  const values = differs(detail.localData).filter(({ field }) => !field.former);
  return finish(besides({ ...body, resolution: values.length ? 'MANUAL' : 'LOCAL_WINS' }), values, detail.localData, missing);
}

/**
 * The site's edit over the cloud's row: MANUAL writes the values that it names and no other, so that all of the edit is named. Where another
 * row stands against it, the row's own values are those that the edit was made on.
 */
function over(body, usable, missing) {
  const known = usable.filter(({ field }) => !field.former);
  const was = (field) => field.others ? field.base ?? field.local : field.cloud;
  const values = known.filter(({ field, to }) => !same(to, was(field)));
  const lost = values.find(({ to }) => tooLarge(to) !== null);
  if (lost) return { body, changes: [], missing, fault: `${lost.field.name} was too large to be kept here: edit the row at its site again.` };
  const from = Object.fromEntries(known.map(({ field }) => [field.name, was(field)]));
  const planned = finish({ ...body, resolution: 'MANUAL' }, values, from, missing);
  // Where all is as the cloud has it, a row that comes back is named by one of its values.
  const one = known.find(({ field }) => field.editable);
  if (!values.length && one) planned.body.values = { [one.field.name]: one.to };
  return planned;
}

function finish(body, values, from, missing) {
  const sent = { ...body };
  if (body.resolution === 'MANUAL') sent.values = Object.fromEntries(values.map(({ field, to }) => [field.name, to]));
  return { body: sent, changes: values.map(({ field, to }) => ({ name: field.name, from: own(from, field.name), to })), missing, fault: null };
}

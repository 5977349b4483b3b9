// One conflict: what happened, the three sides, the decision and its undoing.

import { Problem, get, post } from './api.js';
import { around } from './around.js';
import { carry, fields, initialPicks, pick, plan, together, ways } from './decision.js';
import { enumerate, fill, h } from './dom.js';
import { fieldTable } from './fields.js';
import { clearNotice, notice, setKeys } from './keys.js';
import { mayDecide } from './session.js';
import { ago } from './time.js';
import { change, inline, same, short, text } from './values.js';
import { kindName, rowName, sentence, verdict } from './words.js';

export const title = 'Conflict';
let onEvent = () => {};
/** Called on every event. */
export function changed(event) {
  onEvent(event);
}

export function open(main, { id, go, signal, refresh }) {
  const page = h('section', { class: 'page detail' }, h('p', { class: 'dim' }, 'Loading…'));
  fill(main, page);
  let detail = null;
  let all = [];
  let way = null;
  let picks = new Map();
  let touched = false;
  let news = null;
  let faults = new Map();
  let problem = null;
  let saving = false;
  let invalid = new Map();
  let shown = '';
  let grouped = false;
  const foot = h('div');

  const isOpen = () => detail.resolution === 'PENDING' && !detail.decidedNotSent;
  const decides = () => isOpen() && mayDecide();

  /** Takes a state in. What the person picked is carried over, and what is new is told. */
  function take(next, { told = null } = {}) {
    const whole = JSON.stringify(next);
    if (whole === shown) return;
    shown = whole;
    const before = detail;
    const known = all;
    detail = next;
    document.title = `${rowName(detail)} · Rejoin`;
    all = fields(detail);
    const list = ways(detail);
    const kept = touched && list?.find((one) => one.id === way?.id);
    if (!before || !touched) {
      way = list ? list[0] : null;
      picks = initialPicks(all, way);
    } else {
      if (list) way = kept ?? list[0];
      picks = new Map([...initialPicks(all, way), ...carry(picks, all)]);
    }
    if (before && (before.revision !== detail.revision || before.cloudEtag !== detail.cloudEtag || before.resolution !== detail.resolution)) {
      news = newsOf(before, known, told);
      faults = new Map();
      problem = null;
    }
    draw();
  }

  /** What somebody else did meanwhile. */
  function newsOf(before, known, told) {
    if (detail.resolution !== before.resolution && detail.resolution !== 'PENDING') return told === 'mine' ? null : { kind: 'decided', picked: touched ? describePicks(known) : [] };
    if (detail.resolution !== before.resolution) return told === 'mine' ? null : { kind: 'reopened', moved: [], picked: [] };
    const moved = all.filter((field) => {
      const was = known.find((other) => other.name === field.name);
      return was && (!same(was.cloud, field.cloud) || !same(was.local, field.local));
    }).map((field) => {
      const was = known.find((other) => other.name === field.name);
      const side = same(was.cloud, field.cloud) ? 'local' : 'cloud';
      return { name: field.name, side, from: was[side], to: field[side] };
    });
    return { kind: 'edited', moved, picked: [] };
  }

  function describePicks(known) {
    return known.filter((field) => field.clashed && picks.has(field.name)).map((field) => ({ name: field.name, to: picks.get(field.name).value }));
  }

  async function load({ told } = {}) {
    try {
      take(await get(`/api/conflicts/${encodeURIComponent(id)}`, {}, { signal }), { told });
      // A conflict that is alone in its group has no others of the same cause to go to.
      const others = detail.group ? (await get('/api/conflicts', { group: detail.group, limit: 2 }, { signal })).data.length > 1 : false;
      if (others !== grouped) { grouped = others; draw(); }
    } catch (error) {
      if (signal.aborted) return;
      if (detail) return notice(error.message, { kind: 'bad' });
      fill(page, h('h1', {}, error.status === 404 ? 'There is no such conflict' : 'This conflict cannot be shown'), h('p', { class: 'problem' }, error.message),
        h('p', {}, h('a', { href: '/conflicts' }, 'Back to the conflicts')));
    }
  }

  function draw() {
    const active = document.activeElement;
    const focused = active?.dataset?.focus;
    const written = active?.matches('textarea, input[type=text]') ? [active.value, active.selectionStart, active.selectionEnd] : null;
    const opened = Array.from(page.querySelectorAll('details[open][data-keep]'), (one) => one.dataset.keep);
    const list = ways(detail);
    const table = (!way || way.picks || way.edits || way.shows || !isOpen())
      ? fieldTable(detail, all, { picks, way, faults, readOnly: !decides() || way?.shows, choose, write, typed }) : '';
    fill(page,
      h('p', { class: 'crumbs' }, h('a', { href: '/conflicts' }, 'Conflicts'),
        grouped ? [' / ', h('a', { href: `/conflicts?group=${detail.group}` }, 'same cause')] : '',
        h('span', { class: 'spring' }), h('button', { type: 'button', class: 'link', on: { click: () => neighbour(-1) } }, '← Previous'), h('button', { type: 'button', class: 'link', on: { click: () => neighbour(1) } }, 'Next →')),
      h('div', { class: 'heading' }, h('h1', {}, short(rowName(detail), 120)),
        h('p', { class: 'about' }, h('span', { class: `kind ${detail.kind}` }, kindName(detail.kind)), h('span', { class: 'table' }, text(detail.tableName)),
          h('span', { class: 'dim' }, 'parked ', ago(detail.createdAt)), detail.held ? h('span', { class: 'held', title: 'The row is visible at its site only' }, 'held at its site') : '')),
      h('p', { class: 'sentence' }, sentence(detail)),
      reasonLine(),
      newsBox(),
      refusedBox(),
      resolvedBox(),
      decides() && list ? wayList(list) : '',
      decides() && !list ? sideButtons() : '',
      table,
      around(detail, { way: decides() ? way : null }),
      decides() ? fill(foot, footer()) : isOpen() ? h('p', { class: 'role-line' }, 'You can see this conflict. Deciding it takes the role admin.') : '');
    for (const name of opened) page.querySelector(`details[data-keep="${name}"]`)?.setAttribute('open', '');
    const again = focused ? page.querySelector(`[data-focus="${CSS.escape(focused)}"]`) : null;
    again?.focus({ preventScroll: true });
    // Half a word is not lost over somebody else's edit.
    if (again && written) { again.value = written[0]; again.setSelectionRange(written[1], written[2]); }
    keys();
  }

  function reasonLine() {
    if (!detail.reason || ['update_update'].includes(detail.kind)) return '';
    return h('p', { class: 'reason' }, 'The cloud says: ', short(detail.reason, 400));
  }

  function newsBox() {
    if (!news) return '';
    const words = {
      decided: ['Somebody decided this meanwhile. ', news.picked?.length ? ['You had picked ', enumerate(news.picked.map(({ name, to }) => [h('span', { class: 'column' }, text(name)), ' ', inline(to)]).map((nodes) => h('span', {}, nodes))), '.'] : ''],
      reopened: ['The decision was taken back: this is open again.'],
      edited: [h('b', {}, 'This changed while you looked at it. '),
        news.moved?.length ? [enumerate(news.moved.map(({ name, side, from, to }) => h('span', {}, h('span', { class: 'column' }, text(name)), side === 'cloud' ? ' at the cloud' : ' at the site', ' went from ', inline(from), ' to ', inline(to)))), '. '] : 'Somebody edited the row. ',
        touched ? 'What you picked is kept; look once more, then save.' : 'Look once more before you decide.'],
    }[news.kind];
    return h('div', { class: 'news', role: 'alert' }, h('p', {}, words),
      h('button', { type: 'button', class: 'icon', 'aria-label': 'Dismiss', on: { click: () => { news = null; draw(); } } }, '×'));
  }

  /** At a site: what became of a decision that the cloud did not carry out. */
  function refusedBox() {
    const decision = detail.decision;
    if (decision?.state !== 'refused') return '';
    return h('div', { class: 'news' }, h('p', {}, h('b', {}, 'The cloud refused the decision'), ' that ', short(decision.by, 40), ' made here', decision.refused ? [': ', short(decision.refused, 300)] : '.', ' It can be decided again.'));
  }

  function resolvedBox() {
    if (isOpen()) return '';
    return h('div', { class: 'resolved' }, h('p', {}, verdict(detail) ?? 'Decided here.',
      detail.decidedNotSent ? ' The decision travels to the cloud with the next sync; the first one to arrive counts.' : '',
      detail.undoable === false ? h('span', { class: 'dim' }, ' It can no longer be taken back: somebody has edited since.') : ''),
    mayDecide() && detail.undoable !== false
      ? h('button', { type: 'button', class: 'quiet', 'data-focus': 'undo', on: { click: undo } }, 'Undo') : '');
  }

  function wayList(list) {
    return h('fieldset', { class: 'ways' }, h('legend', {}, 'What should become of it?'), list.map((one, at) => h('label', { class: one.danger ? 'way danger' : 'way' },
      h('input', { type: 'radio', name: 'way', value: one.id, checked: one === way || one.id === way?.id, 'data-focus': `way-${one.id}`, on: { change: () => chooseWay(one) } }),
      h('span', {}, h('b', {}, one.label), h('small', {}, one.hint)), h('kbd', {}, String(at + 1)))));
  }

  function chooseWay(next) {
    way = next;
    touched = true;
    picks = initialPicks(all, way);
    faults = new Map();
    invalid = new Map();
    problem = null;
    draw();
  }

  function sideButtons() {
    const side = (name, label) => h('button', { type: 'button', class: `side ${name}`, 'data-focus': `all-${name}`, on: { click: () => pickAll(name) } }, label);
    return h('div', { class: 'all-sides' }, h('span', { class: 'dim' }, 'All fields from'), side('cloud', 'the cloud'), side('local', ['site ', short(detail.site, 30)]));
  }

  function pickAll(side) {
    for (const field of all) if (field.clashed || (!detail.columns.length && field.differs)) picks.set(field.name, pick(field, side));
    after();
  }

  function choose(field, side) {
    for (const other of together(all, field)) if (other[side] !== undefined) picks.set(other.name, pick(other, side));
    after(field);
  }

  function write(field, value) {
    picks.set(field.name, { side: 'free', value });
    after(field);
  }

  /** While somebody writes, only the foot is drawn anew: what he writes into stays. `wrong`: why it is no value, in words. */
  function typed(field, value, wrong) {
    touched = true;
    if (wrong) invalid.set(field.name, wrong);
    else {
      invalid.delete(field.name);
      picks.set(field.name, { side: 'free', value });
    }
    fill(foot, footer());
  }

  function after(field) {
    touched = true;
    if (field) { faults.delete(field.name); invalid.delete(field.name); }
    problem = null;
    draw();
  }

  function fault(planned) {
    for (const [name, wrong] of invalid) return [h('span', { class: 'column' }, short(name, 30)), `: ${wrong}.`];
    return planned.fault ?? (planned.missing.length ? ['Pick a value for ', enumerate(planned.missing.slice(0, 3).map((name) => h('span', { class: 'column' }, short(name, 30)))), '.'] : null);
  }

  function footer() {
    const planned = plan(detail, all, way, picks);
    const lacks = fault(planned);
    return h('div', { class: 'bar save', role: 'region', 'aria-label': 'The decision' },
      h('div', { class: 'result', 'aria-live': 'polite' }, problem ? h('p', { class: 'problem', role: 'alert' }, problem) : '', lacks ? h('p', { class: 'dim' }, lacks) : resultWords(planned)),
      h('button', { type: 'button', class: way?.danger ? 'primary danger' : 'primary', 'data-focus': 'save', disabled: Boolean(lacks) || saving, on: { click: save } }, saving ? 'Saving…' : 'Save', h('kbd', {}, 's')));
  }

  /** The merged result, before it is saved. */
  function resultWords({ body, changes }) {
    if (way?.shows) return h('p', {}, way.hint);
    const merging = body.way === 'same_row' ? 'The two become one row. ' : way?.id === 'revive' ? 'The row comes back. ' : '';
    if (!changes.length && body.way === 'same_row') return h('p', {}, 'The two become one row, with the cloud’s values.');
    if (!changes.length && merging) return h('p', {}, body.resolution === 'LOCAL_WINS' ? 'The row comes back as the site has it.' : 'The row comes back as it was at the cloud.');
    if (!changes.length) return h('p', {}, body.resolution === 'LOCAL_WINS' ? 'The site’s edit is taken as it is.' : 'Nothing changes at the cloud; the site’s edit is put away.');
    return h('p', {}, merging, h('span', { class: 'dim' }, 'After saving: '), enumerate(changes.slice(0, 4).map(({ name, from, to }) => h('span', { class: 'change' }, h('span', { class: 'column' }, short(name, 30)), ' ',
      from === undefined ? inline(to, 40) : change(from, to, 30)))), changes.length > 4 ? ` and ${changes.length - 4} more` : '', '.');
  }

  async function save() {
    const planned = plan(detail, all, way, picks);
    if (!decides() || saving || fault(planned)) return;
    saving = true;
    faults = new Map();
    problem = null;
    draw();
    try {
      await post(`/api/conflicts/${detail.id}/resolve`, planned.body);
      saving = false;
      touched = false;
      news = null;
      await load({ told: 'mine' });
      refresh();
      notice(detail.decidedNotSent ? 'Decided. It travels to the cloud with the next sync.' : 'Saved.', { kind: 'good', milliseconds: 0, actions: [
        mayDecide() && !detail.decidedNotSent ? h('button', { type: 'button', class: 'quiet', on: { click: undo } }, 'Undo', h('kbd', {}, 'u')) : '',
        h('button', { type: 'button', class: 'primary', on: { click: () => neighbour(1) } }, 'Next conflict', h('kbd', {}, 'n'))] });
    } catch (error) {
      saving = false;
      await refused(error);
    }
  }

  async function refused(error) {
    if (!(error instanceof Problem) || !error.code) {
      problem = error.message;
      return draw();
    }
    if (error.code === 'outdated_resolution') {
      touched = true;
      await load();
      if (!news) { news = { kind: 'edited', moved: [] }; draw(); }
      page.querySelector('.news')?.scrollIntoView({ block: 'nearest' });
      return;
    }
    for (const fault of error.errors) {
      const name = decodeURIComponent((fault.pointer ?? '').replace(/^\/values\//, '').replaceAll('~1', '/').replaceAll('~0', '~'));
      const field = all.find((one) => one.name === name || camel(one.name) === name);
      if (field) faults.set(field.name, fault.detail);
    }
    problem = faults.size ? 'Some values cannot be written; see above.' : error.message;
    draw();
  }

  async function undo() {
    clearNotice();
    try {
      await post(`/api/conflicts/${detail.id}/undo`, { revision: detail.revision });
      touched = false;
      news = null;
      await load({ told: 'mine' });
      refresh();
      notice('Taken back. The conflict is open again.', { kind: 'good' });
    } catch (error) {
      await load({ told: 'mine' });
      notice(error.code === 'outdated_resolution' ? 'Not taken back: somebody has edited the row since.' : error.message, { kind: 'bad' });
    }
  }

  /** The next (1) or previous (-1) open conflict of the same cause; else of the inbox. */
  async function neighbour(by) {
    if (!detail) return;
    const order = { sort: by > 0 ? 'newest' : 'oldest', resolution: 'PENDING', cursor: detail.id, limit: 1 };
    const of = async (query) => (await get('/api/conflicts', query)).data.find((other) => other.id !== detail.id);
    try {
      let next = detail.group ? await of({ ...order, group: detail.group }) : null;
      next ??= await of(order);
      if (!next && by > 0) next = await of({ resolution: 'PENDING', limit: 1 });
      if (next) go(`/conflicts/${next.id}`);
      else if (by > 0) { go('/conflicts'); notice('That was the last one.', { kind: 'good' }); } else notice('This is the first one.');
    } catch (error) {
      notice(error.message, { kind: 'bad' });
    }
  }

  function moveField(by) {
    const rows = Array.from(page.querySelectorAll('.field:not([hidden])'));
    const visible = rows.filter((row) => row.offsetParent !== null && row.querySelector('input[type=radio]'));
    const at = visible.indexOf(document.activeElement?.closest('.field'));
    const next = visible[Math.max(0, Math.min(visible.length - 1, at + by))];
    (next?.querySelector('input[type=radio]:checked') ?? next?.querySelector('input[type=radio]'))?.focus();
    next?.scrollIntoView({ block: 'nearest' });
  }

  function sideKey(number) {
    const list = ways(detail);
    const field = document.activeElement?.closest('.field');
    if (!field) {
      if (list?.[number - 1]) chooseWay(list[number - 1]);
      else if (!list) moveField(1);
      if (list) return;
    }
    const row = document.activeElement?.closest('.field');
    const side = ['base', 'cloud', 'local'][number - 1];
    const input = row?.querySelector(`input[value=${side}]:not([disabled])`);
    input?.focus({ preventScroll: true });
    input?.click();
  }

  function keys() {
    const known = [['ArrowDown j', 'Next field', () => moveField(1)], ['ArrowUp k', 'Field before', () => moveField(-1)]];
    if (decides()) {
      known.push(['1', 'Base value of the field, or the first way', () => sideKey(1)], ['2', 'Cloud’s value, or the second way', () => sideKey(2)], ['3', 'Site’s value, or the third way', () => sideKey(3)]);
      known.push(['4', 'The fourth way', () => sideKey(4)]);
      if (!ways(detail)) known.push(['c', 'All fields from the cloud', () => pickAll('cloud')], ['m', 'All fields from the site', () => pickAll('local')]);
      known.push(['e', 'Write another value', () => document.activeElement?.closest('.field')?.querySelector('.free')?.click()]);
      known.push(['s', 'Save', save]);
    }
    if (!isOpen() && mayDecide() && detail.undoable !== false) known.push(['u', 'Undo the decision', undo]);
    known.push(['n ]', 'Next conflict', () => neighbour(1)], ['p [', 'Previous conflict', () => neighbour(-1)]);
    known.push(['Escape', 'Back', () => go(grouped ? `/conflicts?group=${detail.group}` : '/conflicts')]);
    setKeys(known);
  }

  let timer = null;
  onEvent = (event) => {
    if (event.event === 'run' || (event.conflict && event.conflict !== id)) return;
    clearTimeout(timer);
    timer = setTimeout(() => { if (!saving && detail) load(); }, 250);
  };
  signal.addEventListener('abort', () => { clearTimeout(timer); onEvent = () => {}; });
  load();
}

function camel(name) {
  return name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
}

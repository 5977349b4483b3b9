// Elements out of data. Text is always a text node; no string is ever parsed as markup.

const LINK = /^(\/(?!\/)|#|blob:)/;

/** An element. `on` holds listeners; `false`, `null` and `undefined` leave an attribute or child out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === 'value' || name === 'checked' || name === 'disabled' || name === 'indeterminate') {
      element[name] = value;
    } else if (name === 'href' && !LINK.test(value)) {
      throw new Error(`a link to ${value}`);
    } else {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...flat(children));
  return element;
}

/** Replaces what is in an element. */
export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== '');
}

/** A member of JSON that came from somewhere: never one of Object's own. */
export function own(object, name) {
  return object !== null && typeof object === 'object' && Object.hasOwn(object, name) ? object[name] : undefined;
}

/** `1 row`, `2 rows`, `10,000 rows`. */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

/** `a`, `a and b`, `a, b and c`: nodes or texts. */
export function enumerate(items) {
  return items.flatMap((item, at) => (at === 0 ? [item] : [at === items.length - 1 ? ' and ' : ', ', item]));
}

/** Where the record page says things: sentences of the server, errors at their fields, rows that grow, one screen of several. */

/**
 * The server's sentences, by their codes: `{name}` is filled in.
 *
 * @param {ParentNode} root
 */
export function sentencesOf(root) {
  const template = root.querySelector("template[data-sentences]");
  const all = template instanceof HTMLTemplateElement ? template.content.querySelectorAll("[data-for]") : [];
  const known = new Map(Array.from(all, (each) => [/** @type {HTMLElement} */ (each).dataset.for, (each.textContent ?? "").trim()]));
  return (/** @type {string} */ code, /** @type {Record<string, string | number>} */ values = {}) =>
    (known.get(code) ?? "").replace(/\{(\w+)\}/g, (_whole, name) => String(values[name] ?? ""));
}

/**
 * Errors stand at their fields, and in a list above that takes the focus and leads to them.
 *
 * @param {HTMLElement} screen
 * @param {[field: string, sentence: string][]} errors none: all errors go; field "": about the whole
 * @param {string} title
 */
export function complain(screen, errors, title) {
  const box = /** @type {HTMLElement | null} */ (screen.querySelector("[data-problems]"));
  for (const old of screen.querySelectorAll(".error[data-said]")) old.remove();
  for (const field of screen.querySelectorAll("[data-wrong]")) {
    field.removeAttribute("data-wrong");
    field.removeAttribute("aria-invalid");
    describe(field, `${field.id}-error`, false);
  }
  for (const [name, sentence] of errors) complainAt(screen, name, sentence);
  if (!box) return;
  box.hidden = errors.length === 0;
  box.replaceChildren();
  if (errors.length === 0) return;
  box.className = "notice";
  box.dataset.tone = "bad";
  box.tabIndex = -1;
  box.setAttribute("role", "alert");
  const words = document.createElement("div");
  words.append(element("p", element("strong", title)), listOf(errors));
  box.append(mark(), words);
  box.focus();
  box.scrollIntoView({ block: "nearest" });
}

/**
 * Somebody is mending it: the complaint has done its work.
 *
 * @param {HTMLElement} field the control, or the group of its answers
 */
export function forgive(field) {
  const place = /** @type {HTMLElement | null} */ (field.closest("[data-wrong]"));
  if (!place) return;
  document.getElementById(`${place.id}-error`)?.remove();
  place.removeAttribute("data-wrong");
  place.removeAttribute("aria-invalid");
  describe(place, `${place.id}-error`, false);
  const screen = place.closest("[data-screen]");
  const box = /** @type {HTMLElement | null | undefined} */ (screen?.querySelector("[data-problems]"));
  if (box && !screen?.querySelector("[data-wrong]")) box.hidden = true;
}

/**
 * @param {HTMLElement} screen
 * @param {string} name
 * @param {string} sentence
 */
function complainAt(screen, name, sentence) {
  const place = name ? screen.querySelector(`#${CSS.escape(name)}`) : null;
  if (!(place instanceof HTMLElement)) return;
  for (let fold = place.closest("details"); fold; fold = fold.parentElement?.closest("details") ?? null) fold.open = true;
  if (place instanceof HTMLInputElement && place.type === "hidden") return complainAtPad(place, sentence);
  const error = element("p", mark(), element("span", sentence));
  error.className = "error";
  error.id = `${name}-error`;
  error.dataset.said = "";
  place.dataset.wrong = "";
  if (isControl(place)) {
    place.setAttribute("aria-invalid", "true");
    place.before(error);
  } else {
    const head = place.querySelector(":scope > legend, :scope > summary, :scope > h3");
    if (head) head.after(error);
    else place.prepend(error);
  }
  describe(place, error.id, true);
}

/**
 * @param {HTMLInputElement} strokes
 * @param {string} sentence
 */
function complainAtPad(strokes, sentence) {
  const pad = strokes.closest(".signature");
  const complaint = pad?.querySelector("[data-complaint]");
  if (!(complaint instanceof HTMLElement)) return;
  complaint.textContent = sentence;
  complaint.hidden = false;
  pad?.setAttribute("data-invalid", "");
}

/** @param {[field: string, sentence: string][]} errors */
function listOf(errors) {
  const list = document.createElement("ul");
  for (const [name, sentence] of errors) {
    const words = element(name ? "a" : "span", sentence);
    if (name) words.setAttribute("href", `#${name.endsWith("_strokes") ? `${name}-pad` : name}`);
    list.append(element("li", words));
  }
  return list;
}

/**
 * @param {Element} field
 * @param {string} id
 * @param {boolean} add
 */
function describe(field, id, add) {
  const rest = (field.getAttribute("aria-describedby") ?? "").split(" ").filter((each) => each && each !== id);
  if (add) rest.push(id);
  if (rest.length > 0) field.setAttribute("aria-describedby", rest.join(" "));
  else field.removeAttribute("aria-describedby");
}

/** @param {Element} place */
function isControl(place) {
  return place instanceof HTMLInputElement || place instanceof HTMLTextAreaElement || place instanceof HTMLSelectElement;
}

function mark() {
  const template = document.querySelector("template[data-error-mark]");
  return template instanceof HTMLTemplateElement ? document.importNode(template.content, true) : document.createDocumentFragment();
}

/**
 * @param {string} tag
 * @param {...(Node | string)} inside
 */
export function element(tag, ...inside) {
  const made = document.createElement(tag);
  made.append(...inside);
  return made;
}

/**
 * As many rows of a list as a draft has, and one more as soon as the last is begun.
 *
 * @param {HTMLFormElement} form
 * @param {string} list
 * @param {number} count
 */
export function rowsAtLeast(form, list, count) {
  for (let have = rowCount(form, list); have > 0 && have < count; have += 1) addRow(form, list, have);
}

/**
 * @param {HTMLFormElement} form
 * @param {string} list
 */
export function rowCount(form, list) {
  return new Set(Array.from(form.querySelectorAll(`[name^="${list}-"]`), (each) => each.getAttribute("name")?.split("-")[1])).size;
}

/**
 * @param {HTMLFormElement} form
 * @param {string} list
 * @param {number} number
 */
function addRow(form, list, number) {
  const last = form.querySelector(`[name^="${list}-${number - 1}-"]`)?.closest(".entry");
  const whole = last?.closest("details.more") ?? last;
  if (!whole) return;
  const row = /** @type {HTMLElement} */ (whole.cloneNode(true));
  for (const error of row.querySelectorAll(".error")) error.remove();
  for (const each of row.querySelectorAll("[id], [name], [for]")) {
    for (const attribute of ["id", "name", "for"]) {
      const value = each.getAttribute(attribute);
      if (value) each.setAttribute(attribute, value.replace(`${list}-${number - 1}-`, `${list}-${number}-`));
    }
    if (each instanceof HTMLInputElement) each.value = "";
    each.removeAttribute("aria-invalid");
  }
  if (row instanceof HTMLDetailsElement) row.open = false;
  whole.after(row);
}

/**
 * What a record must say before it is handed over: the rules of the server (records/operations.py, forms.py), so that nobody learns of a
 * missing field a day later. Sentences are the server's: the page brings them in `<template data-sentences>`, named by the codes below.
 */
import { enough, readInk } from "../ink.js";
import { first, rowsOf } from "./shown.js";

const LONGEST_SERVICE_MS = 14 * 86_400_000;
const FUTURE_SLACK_MS = 10 * 60_000;
const EVENT_SLACK_MS = 60_000;
const MOST_ROWS = 30;
const MOST_QUANTITY = 9_999;
/** Without it a row counts for nothing; a quantity alone says nothing. */
const LEADING = { parts: ["name", "part_name"], open_items: ["text", "open_items"] };

/**
 * @typedef {import("./draft.js").Fields} Fields
 * @typedef {Map<string, string>} Wrong  field → code of the sentence
 */

/**
 * @param {Fields} fields
 * @param {{backup: string, startedByEvent: string, now: string, limits: Record<string, [characters: number, lines: number | null]>}} known
 *   times as on the installation's wall, `2026-11-22T14:09`
 * @returns {Wrong} in the order of the form
 */
export function wrongInForm(fields, { backup, startedByEvent, now, limits }) {
  /** @type {Wrong} */
  const wrong = new Map();
  const outcome = first(fields, "outcome");
  const open = rowsOf(fields, "open_items");
  if (!first(fields, "service_type")) wrong.set("service_type", "service_type");
  if (!first(fields, "content_text").trim()) wrong.set("content_text", "content_text");
  checkRows(fields, wrong);
  if (!outcome) wrong.set("outcome", "outcome");
  if (outcome === "remaining" && open.length === 0) wrong.set("open_items", "open_items");
  if (outcome === "all_done" && open.length > 0) wrong.set("outcome", "not_all_done");
  if (backup === "open") wrong.set("backup", "backup");
  checkTimes(fields, wrong, startedByEvent, now);
  checkLengths(fields, wrong, limits);
  return wrong;
}

/**
 * @param {Fields} fields
 * @param {Wrong} wrong
 */
function checkRows(fields, wrong) {
  for (const [name, value] of fields) {
    if (!/^parts-\d+-quantity$/.test(name) || value.trim() === "") continue;
    const number = Number(value);
    if (!/^\s*[+-]?\d+\s*$/.test(value)) wrong.set(name, "not_whole");
    else if (number < 1 || number > MOST_QUANTITY) wrong.set(name, "quantity");
  }
  for (const [name, value] of fields) {
    const [, list, number, column] = /^(parts|open_items)-(\d+)-(\w+)$/.exec(name) ?? [];
    if (!list || column === "quantity" || !value.trim()) continue;
    const [leading, code] = LEADING[/** @type {keyof typeof LEADING} */ (list)];
    const place = `${list}-${number}-${leading}`;
    if (!first(fields, place).trim()) wrong.set(place, code);
  }
  for (const list of /** @type {const} */ (["parts", "open_items"])) if (rowsOf(fields, list).length > MOST_ROWS) wrong.set(list, "too_many_rows");
  for (const [name, value] of fields) if (name.endsWith("-promised_by") && isFarAway(value)) wrong.set(name, "far_away");
}

/**
 * @param {Fields} fields
 * @param {Wrong} wrong
 * @param {string} byEvent
 * @param {string} now
 */
function checkTimes(fields, wrong, byEvent, now) {
  const [from, until] = [first(fields, "started_at"), first(fields, "ended_at") || now];
  if (isFarAway(from)) return void wrong.set("started_at", "far_away");
  if (isFarAway(until)) return void wrong.set("ended_at", "far_away");
  const [start, end] = [wall(from), wall(until)];
  if (Number.isNaN(start)) wrong.set("started_at", "started_at");
  else if (end < start) wrong.set("ended_at", "ends_before");
  else if (end > wall(now) + FUTURE_SLACK_MS) wrong.set("ended_at", "ends_later");
  else if (end - start > LONGEST_SERVICE_MS) wrong.set("started_at", "too_long");
  else if (byEvent && Math.abs(start - wall(byEvent)) > EVENT_SLACK_MS && !first(fields, "times_reason").trim()) {
    wrong.set("times_reason", "times_reason");
  }
}

/**
 * @param {Fields} fields
 * @param {Wrong} wrong
 * @param {Record<string, [number, number | null]>} limits
 */
function checkLengths(fields, wrong, limits) {
  for (const [name, value] of fields) {
    const [characters, lines] = limits[name.replace(/-\d+-/, "-*-")] ?? [Infinity, null];
    const text = value.replaceAll("\r\n", "\n");
    if ([...text].length > characters) wrong.set(name, "too_long_text");
    else if (lines !== null && text.split("\n").length > lines) wrong.set(name, "too_many_lines");
  }
}

/** The printed name beside a drawing; engineers are known by their log-in. */
const PRINTED_NAME = { customer: "signer_name", backup_ack: "backup_ack_name", engineer: "" };

/**
 * A signature as the server asks for it (records/operations.py, _checked).
 *
 * @param {Fields} fields
 * @param {keyof typeof PRINTED_NAME} role
 * @param {string} method
 * @returns {Wrong}
 */
export function wrongInSignature(fields, role, method) {
  const name = PRINTED_NAME[role];
  if (method === "refused" || method === "absent") {
    return new Map(first(fields, `${role}_reason`).trim() ? [] : [[`${role}_reason`, "reason"]]);
  }
  /** @type {Wrong} */
  const wrong = new Map();
  if (method === "typed") {
    if ([...first(fields, `${role}_typed`).trim()].length < 2) wrong.set(`${role}_typed`, "signer_name");
    return wrong;
  }
  if (!enough(readInk(first(fields, `${role}_strokes`)))) wrong.set(`${role}_strokes`, "too_little");
  if (name && [...first(fields, name).trim()].length < 2) wrong.set(name, "signer_name");
  return wrong;
}

/**
 * A drawing beats a typed name, a reason that was chosen beats both.
 *
 * @param {Fields} fields
 * @param {keyof typeof PRINTED_NAME} role
 * @param {string} [chosen]
 */
export function methodOf(fields, role, chosen = "") {
  if (chosen) return chosen;
  const drawn = readInk(first(fields, `${role}_strokes`)).strokes.length > 0;
  return drawn || !first(fields, `${role}_typed`).trim() ? "drawn" : "typed";
}

/** @param {string} moment */
function wall(moment) {
  return Date.parse(moment ? `${moment.slice(0, 16)}Z` : "");
}

/** @param {string} day */
function isFarAway(day) {
  return day !== "" && !(Number(day.slice(0, day.indexOf("-"))) >= 2000 && Number(day.slice(0, day.indexOf("-"))) <= 2100);
}

/** Logging out: what counts as unsent, and what counts as the office's word. */
import { json, newStore } from "./office.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";
import { enqueue } from "../../static/js/offline/outbox.js";
import { endSession } from "../../static/js/offline/session.js";
import { unsent } from "../../static/js/offline/upload.js";

const html = (status) => new Response("<h1>Welcome to this Wi-Fi</h1>", { status, headers: { "Content-Type": "text/html" } });

test("logged out is who the office says it of, and who it does not know any more", async () => {
  let asked;
  const said = (answer) => endSession("user-1", "/logout", { fetch: async (url, init) => ((asked = { url, ...init }), answer()) });

  assert.equal(await said(() => json(200, { logged_out: true })), true);
  assert.deepEqual([asked.url, asked.method, asked.headers], ["/logout", "POST", { Accept: "application/json", "X-User": "user-1" }]);
  assert.equal(await said(() => json(401, { error: "login_needed" })), true);
});

for (const [name, answer] of [
  ["a captive portal's page", () => html(200)],
  ["a captive portal's way elsewhere", () => new Response(null, { status: 302, headers: { Location: "http://portal.example/" } })],
  ["a captive portal's own log-in", () => html(401)],
  ["a portal that refuses", () => html(403)],
  ["other JSON", () => json(200, { ok: true })],
  ["a broken office", () => json(503, { error: "busy" })],
  ["nobody", () => Promise.reject(new TypeError("Failed to fetch"))],
]) {
  test(`${name} logs nobody out: the next person would work under this name`, async () => {
    assert.equal(await endSession("user-1", "/logout", { fetch: async () => answer() }), false);
  });
}

test("photos that have not arrived are unsent work, also when their record was received", async () => {
  const store = await newStore();
  await enqueue(store, { path: "/visits/v1/departure", fields: [], visit: "v1" });
  await store.put("receipts", { submission_id: "r1", received_at: new Date().toISOString(), head: { id: "r1", sequence: 9, photos: ["a", "b", "c"] } }, "r1");
  await store.put("uploads", { arrived: true }, "a");
  await store.put("uploads", { arrived: false, error: { code: "damaged", sentence: "" } }, "b");

  assert.equal(await unsent(store), 3);
});

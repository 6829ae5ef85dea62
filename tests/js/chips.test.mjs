import assert from "node:assert/strict";
import { test } from "node:test";
import { withPhrase } from "../../static/js/chips.js";

test("a phrase begins an empty field and follows what was typed on a line of its own", () => {
  assert.equal(withPhrase("", "重启服务", "\n"), "重启服务");
  assert.equal(withPhrase("  ", "重启服务", "\n"), "重启服务");
  assert.equal(withPhrase("检查了电源。 \n", "重启服务", "\n"), "检查了电源。\n重启服务");
});

test("tapping the same phrase twice adds it once", () => {
  const once = withPhrase("检查了电源。", "重启服务", "\n");

  assert.equal(withPhrase(once, "重启服务", "\n"), once);
});

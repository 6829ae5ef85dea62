// What ESLint checks in static/js: mistakes, and ways to put text into a page as HTML.
import js from "@eslint/js";
import globals from "globals";
import noUnsanitized from "eslint-plugin-no-unsanitized";

export default [
  js.configs.recommended,
  noUnsanitized.configs.recommended,
  {
    files: ["static/js/**/*.js"],
    languageOptions: { ecmaVersion: 2023, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      eqeqeq: "error",
      "no-alert": "error", // a page says it in its own words
      "no-console": ["error", { allow: ["warn", "error"] }],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-promise-executor-return": "error",
      "no-restricted-globals": ["error", { name: "confirm", message: "Ask in the page." }],
      "no-template-curly-in-string": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "require-atomic-updates": "error",
    },
  },
  {
    files: ["static/js/offline/**/*.js", "static/js/service-worker.js"],
    languageOptions: { globals: globals.serviceworker },
  },
];

/**
 * The phone's database is gone, and opening it again did not help: say so over everything, so that nobody goes on typing into nowhere.
 * Its words are in the layout's `<dialog data-lost>`.
 *
 * @param {Document} page
 */
export function showLost(page) {
  const dialog = page.querySelector("dialog[data-lost]");
  if (!(dialog instanceof HTMLDialogElement) || dialog.open) return;
  dialog.querySelector("[data-again]")?.addEventListener("click", () => location.reload(), { once: true });
  dialog.showModal();
}

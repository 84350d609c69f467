// Pages opened from a disk may not fetch one another, so the search shows its hits without excerpts.
if (window.location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

document.addEventListener("DOMContentLoaded", () => {
  // Excerpts come from the article, not from the buttons and the contents around it.
  if (typeof Search !== "undefined") {
    Search.htmlToText = (html) => {
      const page = new DOMParser().parseFromString(html, "text/html");
      const article = page.querySelector("article.bd-article");
      article?.querySelectorAll("script, style, .headerlink").forEach((part) => part.remove());
      return article ? article.textContent : "";
    };
  }
});

// What is wider than the page scrolls inside itself; the Tab key must reach it. Formulas get their
// width only when MathJax has drawn them.
const reachByKeyboard = () => {
  const selector =
    "main pre, .pst-scrollable-table-container, .output.text_html, div.math mjx-container";
  for (const box of document.querySelectorAll(selector)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
};
window.addEventListener("load", () => {
  (window.MathJax?.startup?.promise ?? Promise.resolve()).then(reachByKeyboard);
});
window.addEventListener("resize", reachByKeyboard);

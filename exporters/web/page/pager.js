// Pages of hits: only one page of tiles is in the document.

/** Hits on a page. */
const PAGE_SIZE = 48;

/** The controls above and below the hits. */
export class Pager {
  /**
   * @param {HTMLElement[]} navs
   * @param {(page: number) => void} turn
   */
  constructor(navs, turn) {
    this.navs = navs;
    this.page = 0;
    this.start = 0;
    this.end = 0;
    for (const nav of navs) {
      nav.addEventListener("click", (event) => {
        const { step } = event.target.dataset;
        if (step) turn(this.page + Number(step));
      });
    }
  }

  /**
   * The page that a hit is on.
   * @param {number} at
   */
  pageOf(at) {
    return Math.floor(at / PAGE_SIZE);
  }

  /**
   * Show a page, or the nearest that exists; its hits are from `start` to before `end`.
   * @param {number} page  From 0.
   * @param {number} nHits
   */
  show(page, nHits) {
    const last = Math.max(this.pageOf(nHits - 1), 0);
    this.page = Math.min(Math.max(page, 0), last);
    this.start = this.page * PAGE_SIZE;
    this.end = Math.min(this.start + PAGE_SIZE, nHits);
    const [first, end, all] = [this.start + 1, this.end, nHits].map((n) => n.toLocaleString("en"));
    for (const nav of this.navs) {
      nav.hidden = last === 0;
      nav.querySelector("[data-step='-1']").disabled = this.page === 0;
      nav.querySelector("[data-step='1']").disabled = this.page === last;
      nav.querySelector("span").textContent = `${first}–${end} of ${all}`;
    }
  }
}

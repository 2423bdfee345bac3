// The runbooks (docs/runbooks.md) as a page of the service itself: at night there may be no way to the repository. Read once, when
// the service starts. Every problem that the pages show leads to its section here.
import { existsSync, readFileSync } from 'node:fs';
import { html, type Markup } from './html.js';
import { page, type Viewer } from './layout.js';
import { type Section, sectionsOf } from './markdown.js';

const wayOf = '/runbooks';
/** Beside the pages in what was built; in docs/ where the source runs. */
const places = ['assets/runbooks.md', '../../../docs/runbooks.md'].map(
  (place) => new URL(place, import.meta.url),
);

export type Runbooks = { intro: Markup; sections: readonly Section[] };

export function readRunbooks(): Runbooks {
  const file = places.find((place) => existsSync(place));
  if (!file) throw new Error('docs/runbooks.md is not there: the build copies it');
  const text = readFileSync(file, 'utf8');
  const titles = new Set([...text.matchAll(/^## (\w+)$/gm)].map(([, title = '']) => title));
  return sectionsOf(text, {
    link: (words, href) => {
      const [to = '', anchor] = href.split('#');
      if (to === '' && anchor) return html`<a href="#${anchor}">${words}</a>`;
      // other documents are not served: where they are in the repository is said instead
      const document = to.startsWith('../') ? to.slice(3) : `docs/${to}`;
      return html`${words} <span class="muted">(${document})</span>`;
    },
    word: (word) => (titles.has(word) ? html`<a href="#${anchorOf(word)}">${word}</a>` : undefined),
  });
}

/** The link to a section, from any page. */
export function runbookPath(title: string): string {
  return `${wayOf}#${anchorOf(title)}`;
}

function anchorOf(title: string): string {
  return title.toLowerCase();
}

export function runbooksPage(viewer: Viewer, { intro, sections }: Runbooks): string {
  const contents = sections.map(
    ({ title }) => html`<li><a href="#${anchorOf(title)}">${title.replace(/^Outrigger/, '')}</a></li>`,
  );
  const parts = sections.map(
    ({ title, body }) =>
      html`<section class="card" id="${anchorOf(title)}" aria-labelledby="${anchorOf(title)}-title"><header><h2 id="${anchorOf(title)}-title">${title}</h2><a class="small" href="#contents">All</a></header><div class="body stack prose">${body}</div></section>`,
  );
  return page({
    viewer,
    title: 'Runbooks',
    section: 'runbooks',
    main: html`<h1>Runbooks</h1>
<section class="card" id="contents" aria-label="Contents"><div class="body stack prose">${intro}</div><ul class="contents body">${contents}</ul></section>
${parts}`,
  });
}

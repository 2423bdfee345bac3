// Markdown → HTML, as much of it as our own runbooks use: headings, paragraphs, lists, tables, bold, code, links. Every text goes
// through the tag of html.ts. It refuses to pass markup through, and to be a renderer for what others write.
import { html, type Markup } from './html.js';
import { table } from './parts.js';

export type Section = { title: string; body: Markup };

/** How a link and a bare word are written; a word that is nothing special stays text. */
export type Inline = {
  link(text: string, href: string): Markup;
  word(text: string): Markup | undefined;
};

/** The text before the first `## `, without its title, and the sections after it. */
export function sectionsOf(text: string, inline: Inline): { intro: Markup; sections: Section[] } {
  const [first = '', ...rest] = text.replace(/^# .*\n/, '').split(/^## /m);
  const sections = rest.map((part) => {
    const [title = '', ...lines] = part.split('\n');
    return { title: title.trim(), body: blocks(lines.join('\n'), title.trim(), inline) };
  });
  return { intro: blocks(first, 'Runbooks', inline), sections };
}

function blocks(text: string, title: string, inline: Inline): Markup {
  const parts = text
    .trim()
    .split(/\n{2,}|\n(?=- )(?<=:\*\*\n)/)
    .filter((part) => part.trim() !== '');
  return html`${parts.map((part) => block(part, title, inline))}`;
}

function block(part: string, title: string, inline: Inline): Markup {
  if (part.startsWith('|')) return tableOf(part.split('\n'), title, inline);
  if (part.startsWith('- ')) {
    const items = part.slice(2).split(/\n- /);
    return html`<ul>${items.map((item) => html`<li>${spans(joined(item), inline)}</li>`)}</ul>`;
  }
  return html`<p>${spans(joined(part), inline)}</p>`;
}

function joined(lines: string): string {
  return lines.replace(/\s*\n\s*/g, ' ');
}

function tableOf([head = '', , ...rows]: string[], title: string, inline: Inline): Markup {
  const cells = (row: string) => row.replace(/^\||\|$/g, '').split('|');
  const cell = (text: string) => spans(text.trim(), inline);
  return table(
    `Table of ${title}`,
    html`${cells(head).map((text) => html`<th scope="col">${cell(text)}</th>`)}`,
    rows.map((row) => html`<tr>${cells(row).map((text) => html`<td>${cell(text)}</td>`)}</tr>`),
  );
}

const span = /`([^`]+)`|\*\*(.+?)\*\*|\*([^*]+)\*|\[([^\]]+)\]\(([^)]+)\)|(\w+)/g;

function spans(text: string, inline: Inline): Markup {
  const parts: (Markup | string)[] = [];
  let end = 0;
  for (const match of text.matchAll(span)) {
    const [whole, code, bold, emphasis, linked, href, word] = match;
    parts.push(text.slice(end, match.index));
    end = match.index + whole.length;
    if (code !== undefined) parts.push(html`<code>${code}</code>`);
    else if (bold !== undefined) parts.push(html`<b>${spans(bold, inline)}</b>`);
    else if (emphasis !== undefined) parts.push(html`<em>${emphasis}</em>`);
    else if (linked !== undefined && href !== undefined) parts.push(inline.link(linked, href));
    else parts.push((word !== undefined && inline.word(word)) || whole);
  }
  return html`${[...parts, text.slice(end)]}`;
}

// XML as libvirt speaks it: read with a strict parser, written with escapes. It refuses documents that are too large or too
// deep, and document types, with which entities could be declared.
import sax from 'sax';
import { HostError } from '../core/errors.js';

export type XmlElement = {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** Of this element alone, without that of its children. */
  readonly text: string;
};

const xmlCharsMax = 4 * 1024 * 1024;
const depthMax = 64;
const elementsMax = 100_000;

/** XML's own five entities and numbers, no others. */
const strict = { strictEntities: true } as sax.SAXOptions;

type Open = { name: string; attributes: Record<string, string>; children: Open[]; text: string };

/** The root element. Throws PROTOCOL_ERROR. */
export function parseXml(text: string): XmlElement {
  if (text.length > xmlCharsMax) throw nonsense(`${text.length} characters of XML`);
  const parser = sax.parser(true, strict);
  const open: Open[] = [];
  let root: Open | undefined;
  let count = 0;
  parser.onopentag = ({ name, attributes }) => {
    count += 1;
    if (count > elementsMax) throw nonsense(`more than ${elementsMax} elements`);
    if (open.length >= depthMax) throw nonsense(`elements deeper than ${depthMax}`);
    const element: Open = {
      name,
      attributes: Object.assign(Object.create(null), attributes),
      children: [],
      text: '',
    };
    open.at(-1)?.children.push(element);
    root ??= element;
    open.push(element);
  };
  parser.onclosetag = () => {
    open.pop();
  };
  const onText = (part: string) => {
    const element = open.at(-1);
    if (element) element.text += part;
  };
  parser.ontext = onText;
  parser.oncdata = onText;
  parser.ondoctype = () => {
    throw nonsense('a document type');
  };
  parser.onerror = (error) => {
    throw nonsense(error.message.split('\n')[0] ?? 'bad XML');
  };
  parser.write(text).close();
  if (!root) throw nonsense('no element');
  return root;
}

function nonsense(what: string): HostError {
  return new HostError('PROTOCOL_ERROR', { message: `libvirt's XML makes no sense: ${what}` });
}

export function childOf(element: XmlElement | undefined, ...path: readonly string[]): XmlElement | undefined {
  let at = element;
  for (const name of path) at = at?.children.find((child) => child.name === name);
  return at;
}

export function childrenOf(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

export function textOf(element: XmlElement | undefined, ...path: readonly string[]): string | undefined {
  return childOf(element, ...path)?.text.trim();
}

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\n': '&#10;',
  '\r': '&#13;',
  '\t': '&#9;',
};

/** For the text of an element and for a value in quotes. Throws a RangeError at characters that XML cannot carry. */
export function escapeXml(text: string): string {
  if (/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.test(text)) {
    throw new RangeError('a character that XML cannot carry');
  }
  return text.replace(/[&<>"'\n\r\t]/g, (char) => escapes[char] ?? char);
}

// The pages of the documentation, as far as they can be run.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** The blocks of one language on a page, by its path from the root of the repository. */
export async function blocks(page, language) {
  const text = await readFile(fileURLToPath(new URL(`../../../${page}`, import.meta.url)), 'utf8');
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
    .filter(([, name]) => name === language)
    .map(([, , body]) => body);
}

/** The text with each of these put in; each has to be there. */
export function fill(text, replacements) {
  for (const [from, to] of Object.entries(replacements)) {
    if (!text.includes(from)) throw new Error(`the page no longer says ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

// A clock that tests move, for programs in Node.js and Python: it differs from the real one by the seconds in a file.
//
// In Node.js this module itself is loaded into the program, by --import; in Python it is python/moved_clock/sitecustomize.py.

import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export class MovedClock {
  #path;

  constructor(folder) {
    this.#path = join(folder, 'clock');
  }

  /** What a program needs in its environment to have this clock. */
  get env() {
    return {
      MOVED_CLOCK: this.#path,
      NODE_OPTIONS: `--import ${import.meta.url}`,
      PYTHONPATH: join(import.meta.dirname, '../python/moved_clock'),
    };
  }

  /** Moves it to so many seconds after the real time, or before it. */
  async move(seconds) {
    await writeFile(`${this.#path}.new`, String(seconds));
    await rename(`${this.#path}.new`, this.#path);
  }
}

const path = process.env.MOVED_CLOCK;
if (path) {
  const Real = Date;
  const now = () => Real.now() + Number(readFileSync(path, 'utf8')) * 1000;
  globalThis.Date = class extends Real {
    constructor(...given) {
      super(...(given.length === 0 ? [now()] : given));
    }

    static now() {
      return now();
    }
  };
}

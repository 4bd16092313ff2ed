// The only way to the database: a transaction that PostgreSQL knows to be one user's.

import pg, { type QueryResultRow } from 'pg';
import type { Caller } from './caller.ts';

/** Runs one statement of the caller's transaction. */
export type Query = <Row extends QueryResultRow>(text: string, values?: unknown[]) => Promise<Row[]>;

export class Records {
  #pool: pg.Pool;

  /** A small pool, so connections go from one user to the next all the time: nothing of a user may stay with one. */
  constructor(connectionString: string) {
    this.#pool = new pg.Pool({ connectionString, max: 4, connectionTimeoutMillis: 10_000 });
    this.#pool.on('error', (error) => console.error(`an idle connection was lost: ${error.message}`));
  }

  /**
   * Runs `work` in one transaction, for this caller. The policies of schema.sql read the three settings. `true` makes
   * them end with the transaction; with `false` they would stay with the connection, for whoever gets it next.
   */
  async as<T>(caller: Caller, work: (query: Query) => Promise<T>): Promise<T> {
    const connection = await this.#pool.connect();
    let lost: Error | undefined;
    try {
      await connection.query('BEGIN');
      await connection.query(
        `SELECT set_config('request.jwt.claims', $1, true), set_config('app.user_id', $2, true),
                set_config('app.agent_id', $3, true)`,
        [JSON.stringify(caller.claims), caller.user, caller.agent],
      );
      // The comment leads from a line of PostgreSQL's log to the token. callerOf has seen to it that it is one.
      const query: Query = async (text, values) =>
        (await connection.query(`/* jti=${caller.tokenId} */ ${text}`, values)).rows;
      const answer = await work(query);
      await connection.query('COMMIT');
      return answer;
    } catch (error) {
      await connection.query('ROLLBACK').catch((reason: Error) => (lost = reason));
      throw error;
    } finally {
      // One that could not be rolled back is thrown away, never handed on.
      connection.release(lost);
    }
  }

  async end(): Promise<void> {
    await this.#pool.end();
  }
}

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
    let isOpen = true;
    // PostgreSQL may end a connection that is at work; without a listener that would end the program.
    const onLost = (error: Error) => (lost = error);
    connection.on('error', onLost);
    try {
      await connection.query('BEGIN');
      await connection.query(
        `SELECT set_config('request.jwt.claims', $1, true), set_config('app.user_id', $2, true),
                set_config('app.agent_id', $3, true)`,
        [JSON.stringify(caller.claims), caller.user, caller.agent],
      );
      // The comment leads from a line of PostgreSQL's log to the token. callerOf has seen to it that it is one.
      const query: Query = async (text, values) => {
        // A statement that was not waited for would run in the transaction of whoever has the connection next.
        if (!isOpen) throw new Error('the transaction of this caller is over');
        return (await connection.query(`/* jti=${caller.tokenId} */ ${text}`, values)).rows;
      };
      const answer = await work(query);
      isOpen = false;
      // A statement that failed, whoever caught that, has undone the rest: PostgreSQL then answers COMMIT with ROLLBACK.
      const { command } = await connection.query('COMMIT');
      if (command !== 'COMMIT') throw new Error('a statement of the transaction failed, so nothing was written');
      return answer;
    } catch (error) {
      isOpen = false;
      await connection.query('ROLLBACK').catch((reason: Error) => (lost = reason));
      throw error;
    } finally {
      connection.off('error', onLost);
      // One that could not be rolled back is thrown away, never handed on.
      connection.release(lost);
    }
  }

  /** Refuses a role to whom no policy applies: every user would get every row. */
  async check(): Promise<void> {
    const { rows } = await this.#pool.query<{ free: boolean }>(
      'SELECT rolsuper OR rolbypassrls AS free FROM pg_roles WHERE rolname = current_user',
    );
    if (rows[0]?.free !== false) throw new Error('the role of DATABASE_URL bypasses row-level security');
  }

  async end(): Promise<void> {
    await this.#pool.end();
  }
}

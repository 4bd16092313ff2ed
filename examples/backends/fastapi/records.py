"""The only way to the database: a transaction that PostgreSQL knows to be one user's."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from caller import Caller
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

SET_CALLER = """SELECT set_config('request.jwt.claims', %s, true), set_config('app.user_id', %s, true),
    set_config('app.agent_id', %s, true)"""


class Records:
    """A small pool, so connections go from one user to the next all the time: nothing of a user may stay with one."""

    def __init__(self, url: str) -> None:
        # No prepared statements: each text has a jti of its own.
        options = {"autocommit": True, "prepare_threshold": None, "row_factory": dict_row}
        self.pool = AsyncConnectionPool(url, min_size=4, max_size=4, timeout=10, kwargs=options, open=False)

    async def check(self) -> None:
        """Refuses a role to whom no policy applies: every user would get every row."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT rolsuper OR rolbypassrls AS free FROM pg_roles WHERE rolname = current_user"
            )
            row = await cursor.fetchone()
        if row is None or row["free"]:
            raise RuntimeError("the role of DATABASE_URL bypasses row-level security")

    @asynccontextmanager
    async def of(self, caller: Caller) -> AsyncIterator["Transaction"]:
        """One transaction, for this caller.

        The policies of schema.sql read the three settings. `true` makes them end with the transaction; with `false`
        they would stay with the connection, for whoever gets it next.
        """
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute(SET_CALLER, [json.dumps(caller.claims), caller.user, caller.agent])
            transaction = Transaction(connection, caller.token_id)
            try:
                yield transaction
            finally:
                transaction.close()
            # A statement that failed, whoever caught that, has undone the rest: PostgreSQL answers COMMIT with ROLLBACK.
            if connection.info.transaction_status == TransactionStatus.INERROR:
                raise RuntimeError("a statement of the transaction failed, so nothing was written")


class Transaction:
    """What a caller may run."""

    def __init__(self, connection: AsyncConnection[Any], token_id: str) -> None:
        self._connection, self._token_id, self._is_open = connection, token_id, True

    def close(self) -> None:
        """Nothing runs any more."""
        self._is_open = False

    async def rows(self, text: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Runs one statement.

        The comment leads from a line of PostgreSQL's log to the token. Caller.of has seen to it that it is one.
        """
        # A statement that was not waited for would run in the transaction of whoever has the connection next.
        if not self._is_open:
            raise RuntimeError("the transaction of this caller is over")
        cursor = await self._connection.execute(f"/* jti={self._token_id} */ {text}", values)
        return await cursor.fetchall()

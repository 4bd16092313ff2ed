-- Health records that PostgreSQL itself keeps apart: whatever the application asks for, it gets the rows of one user.
--
-- The application tells each transaction for whom it is (docs/how-to/filter-data-per-user.md):
--
--   BEGIN;
--   SELECT set_config('request.jwt.claims', '<claims of the token>', true),
--          set_config('app.user_id', '<sub>', true),
--          set_config('app.agent_id', '<act.sub>', true);
--   /* jti=<jti> */ SELECT ...;
--   COMMIT;
--
-- The last argument, true, ends a setting with the transaction. With false it would stay with the connection, and the
-- next user of the pool would be the last one.
--
-- Run it once, as a superuser, in a database of its own: psql -v ON_ERROR_STOP=1 -f schema.sql

BEGIN;

-- Two roles. Whoever owns a table can switch its row-level security off, so the application must not be the owner; and
-- neither a superuser nor a role with BYPASSRLS, to whom no policy applies.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'records_owner') THEN
    CREATE ROLE records_owner NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'records_app') THEN
    CREATE ROLE records_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
  END IF;
END
$$;

-- For whom this transaction is. A setting that was never made is NULL, and one of an earlier transaction is an empty
-- text: both are nobody, and nobody has no rows.
CREATE FUNCTION caller_user() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN nullif(current_setting('app.user_id', true), '');

-- Which client acts for them.
CREATE FUNCTION caller_agent() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN nullif(current_setting('app.agent_id', true), '');

-- Whether the token's `scope` has this one.
CREATE FUNCTION caller_may(scope text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
  RETURN coalesce(
    scope = ANY (string_to_array(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'scope', ' ')),
    false);

CREATE TABLE health_record (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner TEXT NOT NULL DEFAULT caller_user(),
  written_by TEXT NOT NULL DEFAULT caller_agent(),
  note TEXT NOT NULL CHECK (length(note) BETWEEN 1 AND 1000),
  written_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX health_record_of_owner ON health_record (owner, id);

-- FORCE: the owner is bound, too.
ALTER TABLE health_record ENABLE ROW LEVEL SECURITY;
ALTER TABLE health_record FORCE ROW LEVEL SECURITY;

CREATE POLICY read_own ON health_record FOR SELECT TO records_app
  USING (owner = caller_user() AND caller_may('records.read'));

-- Writing takes a user, the client that does it, and the scope: with a token that may only read, or without `act`, an
-- INSERT fails, also one that a bug or an injection slipped in.
CREATE POLICY add_own ON health_record FOR INSERT TO records_app
  WITH CHECK (owner = caller_user() AND written_by = caller_agent() AND caller_may('records.write'));

-- What no policy allows is refused: there is none to change or remove a row, and no privilege either.
GRANT SELECT, INSERT ON health_record TO records_app;

ALTER TABLE health_record OWNER TO records_owner;
ALTER FUNCTION caller_user() OWNER TO records_owner;
ALTER FUNCTION caller_agent() OWNER TO records_owner;
ALTER FUNCTION caller_may(text) OWNER TO records_owner;

-- Rows to look at.
INSERT INTO health_record (owner, written_by, note) VALUES
  ('corp|alice', 'import', 'Alice: blood count'),
  ('corp|bob', 'import', 'Bob: blood count'),
  ('corp|alice', 'import', 'Alice: allergy test'),
  ('corp|bob', 'import', 'Bob: vaccination'),
  ('corp|bob', 'import', 'Bob: check-up'),
  ('corp|alice', 'import', 'Alice: x-ray'),
  ('corp|bob', 'import', 'Bob: x-ray');

COMMIT;

-- One row for each thing that ended, with the latest end; and the version of all consents at which it was written, so that
-- a server reads only what is new. `ended_at` is until when what was asked for has ended.

CREATE INDEX revocation_of ON revocation (kind, value, ended_at, id);

DELETE FROM revocation WHERE EXISTS (
    SELECT 1 FROM revocation AS later WHERE later.kind = revocation.kind AND later.value = revocation.value
    AND (later.ended_at > revocation.ended_at OR (later.ended_at = revocation.ended_at AND later.id > revocation.id)));

DROP INDEX revocation_of;

CREATE UNIQUE INDEX revocation_thing ON revocation (kind, value);

ALTER TABLE revocation ADD COLUMN version BIGINT NOT NULL DEFAULT 0;

CREATE INDEX revocation_version ON revocation (version);

-- Since when a token rests on a thing: what it inherits, it rests on for as long as the token does that it came of.
ALTER TABLE status_support ADD COLUMN made_at BIGINT NOT NULL DEFAULT 0;

UPDATE status_support SET made_at = COALESCE(
    (SELECT status_entry.made_at FROM status_entry WHERE status_entry.idx = status_support.idx), 0);

-- By which `secrets_key` the secrets and private keys of this database were made: a digest of a key derived from it, so
-- that another key is recognised before it does damage. Nothing can be opened with it.

CREATE TABLE secrets_key (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    fingerprint TEXT NOT NULL
);

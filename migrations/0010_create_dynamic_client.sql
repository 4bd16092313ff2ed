-- Clients that no administrator registered: those that registered themselves, and those known by a document under their
-- own domain. They are many, come and go by themselves, and are not part of what every server keeps in memory.

-- `document` is the client as it counts, `metadata` what it said of itself.
CREATE TABLE dynamic_client (
    id TEXT NOT NULL PRIMARY KEY,
    assurance TEXT NOT NULL,
    document TEXT NOT NULL,
    other_authentication TEXT NOT NULL,
    metadata TEXT NOT NULL,
    secret_hash TEXT,
    registration_token_digest TEXT,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    fetched_at BIGINT,
    fresh_until BIGINT,
    suspended_at BIGINT
);

-- Those to look at when dead ones are removed: never used, and long not used.
CREATE INDEX dynamic_client_unused ON dynamic_client (created_at) WHERE last_used_at IS NULL;
CREATE INDEX dynamic_client_used ON dynamic_client (last_used_at) WHERE last_used_at IS NOT NULL;
CREATE INDEX dynamic_client_created ON dynamic_client (created_at);

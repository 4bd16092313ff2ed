-- Tokens that may be used once: the primary key decides which of several uses was the first.
-- The digest is over kind, presenter and jti, for a jti has any length and any characters.

CREATE TABLE used_token (
    digest TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX used_token_expires ON used_token (expires_at);

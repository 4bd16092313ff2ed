-- What ends tokens that were issued already, and the entries of status lists by which backends see it offline.

-- Tokens that rest on this thing, and were asked for at `ended_at` or before, have ended. Kept until none of them could
-- still live.
CREATE TABLE revocation (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    ended_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);

CREATE INDEX revocation_ends ON revocation (ends_at);

-- One entry for all tokens that rest on the same things; the last of them has ended at `ends_at`.
CREATE TABLE status_entry (
    idx BIGINT NOT NULL PRIMARY KEY,
    made_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);

CREATE INDEX status_entry_ends ON status_entry (ends_at);

-- What they rest on: a user, clients, consents, a grant family, a session, earlier entries.
CREATE TABLE status_support (
    idx BIGINT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (idx, kind, value)
);

-- Servers take indices in blocks.
CREATE TABLE status_counter (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    next_idx BIGINT NOT NULL
);

INSERT INTO status_counter (id, next_idx) VALUES (1, 0);

-- Evidence: what a signing key vouched for, so that whoever can write to the database cannot write another past.

-- Each is a JWS that names the one before by its hash. `made_at` is a copy from it.
CREATE TABLE audit_checkpoint (
    number BIGINT NOT NULL PRIMARY KEY,
    jws TEXT NOT NULL,
    made_at BIGINT NOT NULL
);

-- Copies from the checkpoints, for look-ups: which one binds an event.
CREATE TABLE audit_segment (
    writer_id TEXT NOT NULL,
    last_seq BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    hash TEXT NOT NULL,
    checkpoint BIGINT NOT NULL,
    PRIMARY KEY (writer_id, last_seq)
);
CREATE INDEX audit_segment_checkpoint ON audit_segment (checkpoint);

-- What backends report of a token is found by its jti; no other event pays for it.
CREATE INDEX audit_event_used ON audit_event (jti) WHERE reason = 'used';

-- The audit trail: one hash chain a writer. The columns beside the body are for look-ups; the hash is over the body.

-- The head of each chain. A writer moves it only from where it believes it to be, so a chain cannot fork.
CREATE TABLE audit_chain (
    writer_id TEXT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL
);

CREATE TABLE audit_event (
    writer_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    body TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    subject TEXT,
    client TEXT,
    resource TEXT,
    jti TEXT,
    txn TEXT,
    PRIMARY KEY (writer_id, seq)
);

CREATE INDEX audit_event_request ON audit_event (request_id);
CREATE INDEX audit_event_jti ON audit_event (jti) WHERE jti IS NOT NULL;
CREATE INDEX audit_event_txn ON audit_event (txn) WHERE txn IS NOT NULL;
CREATE INDEX audit_event_at ON audit_event (at_ms);
CREATE INDEX audit_event_subject ON audit_event (subject, at_ms) WHERE subject IS NOT NULL;
CREATE INDEX audit_event_client ON audit_event (client, at_ms) WHERE client IS NOT NULL;
-- Most events are grants; what was refused or done is found among the others without paying for an index of all.
CREATE INDEX audit_event_not_granted ON audit_event (reason, at_ms) WHERE outcome <> 'granted';
CREATE INDEX audit_event_not_granted_at ON audit_event (at_ms) WHERE outcome <> 'granted';

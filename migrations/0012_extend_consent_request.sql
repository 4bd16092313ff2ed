-- What a user said on a consent page, for the client that waits, and how often each consent is used, for its user.

ALTER TABLE consent_request ADD COLUMN outcome TEXT;
ALTER TABLE consent_request ADD COLUMN decided_at BIGINT;

-- Apart from the consent: it is written once a minute and nobody decides anything by it.
CREATE TABLE consent_use (
    consent_id TEXT NOT NULL PRIMARY KEY,
    uses BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL
);

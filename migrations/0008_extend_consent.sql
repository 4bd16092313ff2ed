-- What a user does with a consent on their own page, and what the client was when they agreed.

ALTER TABLE consent ADD COLUMN paused_at BIGINT;
ALTER TABLE consent ADD COLUMN fingerprint TEXT;

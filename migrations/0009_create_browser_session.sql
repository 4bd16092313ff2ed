-- Sessions of browsers, under the digest of their id: whoever reads the database cannot take one over. The columns of
-- the provider are for its logout messages.

CREATE TABLE browser_session (
    digest TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL,
    idp TEXT,
    idp_sub TEXT,
    idp_session TEXT,
    user_id TEXT,
    ends_at BIGINT NOT NULL
);

CREATE INDEX browser_session_provider ON browser_session (idp, idp_sub);
CREATE INDEX browser_session_session ON browser_session (idp, idp_session) WHERE idp_session IS NOT NULL;
CREATE INDEX browser_session_ends ON browser_session (ends_at);

-- What providers said has ended: one session of theirs, or without idp_session all that a user had begun by then. Kept
-- until no token from before can still be shown.
CREATE TABLE ended_session (
    id TEXT NOT NULL PRIMARY KEY,
    idp TEXT NOT NULL,
    idp_sub TEXT,
    idp_session TEXT,
    ended_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);

CREATE INDEX ended_session_session ON ended_session (idp, idp_session);
CREATE INDEX ended_session_user ON ended_session (idp, idp_sub);
CREATE INDEX ended_session_ends ON ended_session (ends_at);

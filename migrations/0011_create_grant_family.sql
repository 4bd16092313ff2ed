-- What users let clients have by a sign-in in a browser. The code and the refresh tokens of a family are not here: they
-- are computed from its id, its generation and a key that is not in the database.

CREATE TABLE grant_family (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    idp TEXT NOT NULL,
    idp_sub TEXT NOT NULL,
    idp_session TEXT,
    terms TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    code_ends_at BIGINT NOT NULL,
    redeemed_at BIGINT,
    generation BIGINT NOT NULL,
    rotations TEXT NOT NULL,
    used_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    revoked_at BIGINT,
    revoked_because TEXT
);

CREATE INDEX grant_family_user ON grant_family (user_id, client_id, resource_id);
CREATE INDEX grant_family_client ON grant_family (client_id);
CREATE INDEX grant_family_session ON grant_family (idp, idp_session) WHERE idp_session IS NOT NULL;
CREATE INDEX grant_family_ends ON grant_family (ends_at);

-- Authorization requests that clients pushed (RFC 9126). The request_uri itself is only with the client.
CREATE TABLE pushed_request (
    digest TEXT NOT NULL PRIMARY KEY,
    client_id TEXT NOT NULL,
    form TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX pushed_request_expires ON pushed_request (expires_at);

-- Who agreed that which client may act for them where. Consents are ended, never deleted: tokens and events name them.
-- They outlive their client and backend, so nothing references those.

-- `user_id` is null where an administrator agreed for everyone.
CREATE TABLE consent (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT,
    client_id TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    scopes TEXT NOT NULL,
    source TEXT NOT NULL,
    granted_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE INDEX consent_user ON consent (user_id, client_id, resource_id);
CREATE INDEX consent_client ON consent (client_id);
CREATE INDEX consent_resource_unrevoked ON consent (resource_id) WHERE revoked_at IS NULL;
CREATE INDEX consent_granted ON consent (granted_at);

-- The handle itself is only in the link; whoever reads this table cannot follow it.
CREATE TABLE consent_request (
    handle_digest TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX consent_request_expires ON consent_request (expires_at);

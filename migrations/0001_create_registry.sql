-- What administrators declare, who may not act or be acted for, and the versions by which servers notice a change.
-- A declaration is one JSON document; only what statements look at is a column beside it.

CREATE TABLE version (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    registry BIGINT NOT NULL,
    consents BIGINT NOT NULL,
    keys BIGINT NOT NULL
);

INSERT INTO version (id, registry, consents, keys) VALUES (1, 1, 1, 1);

CREATE TABLE identity_provider (
    id TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
);

CREATE TABLE resource (
    id TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
);

CREATE TABLE client (
    id TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL,
    assurance TEXT NOT NULL,
    suspended_at BIGINT
);

-- `place` counts the secrets of a client: two made in one second have an order too.
CREATE TABLE client_secret (
    id TEXT NOT NULL PRIMARY KEY,
    client_id TEXT NOT NULL REFERENCES client (id),
    place BIGINT NOT NULL,
    hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    UNIQUE (client_id, place)
);

CREATE TABLE policy (
    id TEXT NOT NULL PRIMARY KEY,
    cedar TEXT NOT NULL
);

CREATE TABLE known_user (
    id TEXT NOT NULL PRIMARY KEY,
    idp TEXT NOT NULL,
    idp_sub TEXT NOT NULL,
    attributes TEXT NOT NULL,
    attributes_at BIGINT NOT NULL,
    suspended_at BIGINT
);

CREATE INDEX known_user_suspended ON known_user (id) WHERE suspended_at IS NOT NULL;

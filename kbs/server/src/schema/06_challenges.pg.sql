-- Replicas: which challenges were answered, and with what. Rows go after the challenge's end.
CREATE TABLE challenges (
    nonce   BYTEA   NOT NULL PRIMARY KEY CHECK (octet_length(nonce) = 32),
    ends_at BIGINT NOT NULL,
    body    BYTEA   NOT NULL
);
CREATE INDEX challenges_by_end ON challenges (ends_at);

-- The key that replicas make and know each other's challenges with; sealed.
CREATE TABLE challenge_key (
    id            BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    sealed_secret BYTEA   NOT NULL
);

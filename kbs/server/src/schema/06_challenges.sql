-- Replicas: which challenges were answered, and with what. Rows go after the challenge's end.
CREATE TABLE challenges (
    nonce   BLOB    NOT NULL PRIMARY KEY CHECK (length(nonce) = 32),
    ends_at INTEGER NOT NULL,
    body    BLOB    NOT NULL
) STRICT;
CREATE INDEX challenges_by_end ON challenges (ends_at);

-- The key that replicas make and know each other's challenges with; sealed.
CREATE TABLE challenge_key (
    id            INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    sealed_secret BLOB    NOT NULL
) STRICT;

-- Version 1 of the broker's store. SQLCipher encrypts and authenticates every page; columns called sealed_* are sealed
-- once more to their row (hanzo-store, ColumnSealer).

-- The broker's own keys: 'signer' (64-byte seed), 'import' (32-byte seed), 'token' (PKCS #8).
CREATE TABLE identity (
    name          TEXT NOT NULL PRIMARY KEY CHECK (name IN ('signer', 'import', 'token')),
    sealed_secret BLOB NOT NULL
) STRICT;

-- Data keys. The highest version of a key is the one that is released.
CREATE TABLE keys (
    key_id          TEXT    NOT NULL,
    key_version     INTEGER NOT NULL CHECK (key_version > 0),
    policy          TEXT    NOT NULL,
    allow_simulated INTEGER NOT NULL CHECK (allow_simulated IN (0, 1)),
    revoked         INTEGER NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1)),
    sealed_dek      BLOB    NOT NULL,
    PRIMARY KEY (key_id, key_version)
) STRICT;

-- allow_simulated is fixed when a key is made, and such keys live in simulated stores alone.
CREATE TRIGGER keys_simulated_is_fixed BEFORE UPDATE OF allow_simulated, key_id, key_version ON keys
BEGIN SELECT RAISE(ABORT, 'allow_simulated is fixed'); END;
CREATE TRIGGER keys_simulated_versions BEFORE INSERT ON keys
WHEN EXISTS (SELECT 1 FROM keys WHERE key_id = NEW.key_id AND allow_simulated <> NEW.allow_simulated)
BEGIN SELECT RAISE(ABORT, 'allow_simulated is fixed'); END;
CREATE TRIGGER keys_simulated_store BEFORE INSERT ON keys
WHEN NEW.allow_simulated = 1 AND (SELECT simulated FROM hanzo_store WHERE id = 1) = 0
BEGIN SELECT RAISE(ABORT, 'a production store holds no keys for simulated guests'); END;

-- Every decision, chained: hash = SHA-384(previous hash || line). Replayed when the store is opened.
CREATE TABLE audit (
    seq  INTEGER NOT NULL PRIMARY KEY CHECK (seq > 0),
    line TEXT    NOT NULL,
    hash BLOB    NOT NULL CHECK (length(hash) = 48)
) STRICT;
CREATE TRIGGER audit_is_append_only_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER audit_is_append_only_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END;

-- One grant per key, version and recipient; counted against max_uses.
CREATE TABLE grants (
    key_id      TEXT    NOT NULL,
    key_version INTEGER NOT NULL,
    recipient   BLOB    NOT NULL CHECK (length(recipient) = 48),
    audit_seq   INTEGER NOT NULL UNIQUE REFERENCES audit (seq),
    PRIMARY KEY (key_id, key_version, recipient),
    FOREIGN KEY (key_id, key_version) REFERENCES keys (key_id, key_version)
) STRICT;

-- Admin requests: each counts once, for ever.
CREATE TABLE admin_nonces (
    nonce     BLOB    NOT NULL PRIMARY KEY CHECK (length(nonce) = 32),
    issued_at INTEGER NOT NULL
) STRICT;

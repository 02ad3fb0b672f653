-- Version 1 of the broker's store, for PostgreSQL: the tables of 01_store.sql. Columns called sealed_* are sealed to their
-- row under the store's key, which the database never sees (hanzo-store, ColumnSealer). All else is plain text here.

CREATE TABLE identity (
    name          TEXT  NOT NULL PRIMARY KEY CHECK (name IN ('signer', 'import', 'token')),
    sealed_secret BYTEA NOT NULL
);

CREATE TABLE keys (
    key_id          TEXT   COLLATE "C" NOT NULL,
    key_version     BIGINT NOT NULL CHECK (key_version > 0),
    policy          TEXT   NOT NULL,
    allow_simulated BIGINT NOT NULL CHECK (allow_simulated IN (0, 1)),
    revoked         BIGINT NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1)),
    sealed_dek      BYTEA  NOT NULL,
    PRIMARY KEY (key_id, key_version)
);

CREATE FUNCTION hanzo_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $$;

CREATE TRIGGER keys_simulated_is_fixed BEFORE UPDATE OF allow_simulated, key_id, key_version ON keys
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('allow_simulated is fixed');

CREATE FUNCTION hanzo_check_new_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM keys WHERE key_id = NEW.key_id AND allow_simulated <> NEW.allow_simulated) THEN
        RAISE EXCEPTION 'allow_simulated is fixed';
    END IF;
    IF NEW.allow_simulated = 1 AND (SELECT simulated FROM hanzo_store WHERE id = 1) = 0 THEN
        RAISE EXCEPTION 'a production store holds no keys for simulated guests';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keys_simulated BEFORE INSERT ON keys FOR EACH ROW EXECUTE FUNCTION hanzo_check_new_key();

CREATE TABLE audit (
    seq  BIGINT NOT NULL PRIMARY KEY CHECK (seq > 0),
    line TEXT   NOT NULL,
    hash BYTEA  NOT NULL CHECK (octet_length(hash) = 48)
);
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('append only');
CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION hanzo_refuse('append only');

CREATE TABLE grants (
    key_id      TEXT   COLLATE "C" NOT NULL,
    key_version BIGINT NOT NULL,
    recipient   BYTEA  NOT NULL CHECK (octet_length(recipient) = 48),
    audit_seq   BIGINT NOT NULL UNIQUE REFERENCES audit (seq),
    PRIMARY KEY (key_id, key_version, recipient),
    FOREIGN KEY (key_id, key_version) REFERENCES keys (key_id, key_version)
);

CREATE TABLE admin_nonces (
    nonce     BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(nonce) = 32),
    issued_at BIGINT NOT NULL
);

-- The audit chain as a Merkle tree, for PostgreSQL: the tables of 03_audit_log.sql.
ALTER TABLE audit ADD COLUMN frontier BYTEA;

CREATE TABLE audit_tiles (
    level BIGINT NOT NULL CHECK (level > 0),
    idx   BIGINT NOT NULL CHECK (idx >= 0),
    hash  BYTEA  NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (level, idx)
);
CREATE TRIGGER audit_tiles_are_append_only BEFORE UPDATE OR DELETE ON audit_tiles
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('append only');
CREATE TRIGGER audit_tiles_are_never_emptied BEFORE TRUNCATE ON audit_tiles
FOR EACH STATEMENT EXECUTE FUNCTION hanzo_refuse('append only');

CREATE TABLE audit_heads (
    size BIGINT NOT NULL PRIMARY KEY CHECK (size > 0),
    note TEXT   NOT NULL
);
CREATE TRIGGER audit_heads_are_append_only BEFORE UPDATE OR DELETE ON audit_heads
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('append only');
CREATE TRIGGER audit_heads_are_never_emptied BEFORE TRUNCATE ON audit_heads
FOR EACH STATEMENT EXECUTE FUNCTION hanzo_refuse('append only');

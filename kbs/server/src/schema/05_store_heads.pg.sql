-- Heads of guests' stores, for PostgreSQL: the table of 05_store_heads.sql.
CREATE TABLE store_heads (
    store       TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    size        BIGINT NOT NULL CHECK (size >= 0),
    root        BYTEA  NOT NULL CHECK (octet_length(root) = 32),
    token       BIGINT NOT NULL CHECK (token > 0),
    writer      BYTEA  NOT NULL CHECK (octet_length(writer) = 48),
    lease_until BIGINT NOT NULL
);
CREATE TRIGGER store_heads_go_forward BEFORE UPDATE ON store_heads FOR EACH ROW
WHEN (NEW.size < OLD.size OR NEW.token < OLD.token OR NEW.store <> OLD.store)
EXECUTE FUNCTION hanzo_refuse('heads and tokens go forward');
CREATE TRIGGER store_heads_stay BEFORE DELETE ON store_heads
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('heads stay');
CREATE TRIGGER store_heads_are_never_emptied BEFORE TRUNCATE ON store_heads
FOR EACH STATEMENT EXECUTE FUNCTION hanzo_refuse('heads stay');

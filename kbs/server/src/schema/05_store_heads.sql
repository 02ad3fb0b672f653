-- Heads of guests' stores, fenced here. A store is named after its data key; each lease has a larger token.
CREATE TABLE store_heads (
    store       TEXT    NOT NULL PRIMARY KEY,
    size        INTEGER NOT NULL CHECK (size >= 0),
    root        BLOB    NOT NULL CHECK (length(root) = 32),
    token       INTEGER NOT NULL CHECK (token > 0),
    writer      BLOB    NOT NULL CHECK (length(writer) = 48),
    lease_until INTEGER NOT NULL
) STRICT;
CREATE TRIGGER store_heads_go_forward BEFORE UPDATE ON store_heads
WHEN NEW.size < OLD.size OR NEW.token < OLD.token OR NEW.store <> OLD.store
BEGIN SELECT RAISE(ABORT, 'heads and tokens go forward'); END;
CREATE TRIGGER store_heads_stay BEFORE DELETE ON store_heads BEGIN SELECT RAISE(ABORT, 'heads stay'); END;

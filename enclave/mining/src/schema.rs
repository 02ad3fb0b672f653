//! Tables of the ledger's store.

use hanzo_store::Schema;

/// `hzl1`: a ledger.
pub const APPLICATION_ID: i32 = 0x687a_6c31;

/// The schema to open it with. `key`, `value`, `document` and `genesis` are canonical bytes of `hanzo-ledger`.
pub const SCHEMA: Schema = Schema {
    application_id: APPLICATION_ID,
    migrations: &[
        "CREATE TABLE chain (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        genesis BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER a_chain_is_final BEFORE UPDATE ON chain BEGIN
        SELECT RAISE(ABORT, 'a store keeps its chain');
    END;
    CREATE TRIGGER a_chain_stays BEFORE DELETE ON chain BEGIN
        SELECT RAISE(ABORT, 'a store keeps its chain');
    END;
    CREATE TABLE blocks (
        height INTEGER PRIMARY KEY CHECK (height > 0),
        id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
        document BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER blocks_are_final BEFORE UPDATE ON blocks BEGIN
        SELECT RAISE(ABORT, 'a block is final');
    END;
    CREATE TRIGGER blocks_stay BEFORE DELETE ON blocks BEGIN
        SELECT RAISE(ABORT, 'a block stays');
    END;
    CREATE TRIGGER blocks_have_no_gaps BEFORE INSERT ON blocks
    WHEN NEW.height <> (SELECT coalesce(max(height) + 1, 1) FROM blocks) BEGIN
        SELECT RAISE(ABORT, 'a block has the next height');
    END;
    CREATE TABLE entries (
        key BLOB PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 96),
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;",
        // What a node shows to others. Blocks that were there before are indexed when the store is opened.
        "CREATE TABLE transactions (
        id BLOB PRIMARY KEY CHECK (length(id) = 32),
        height INTEGER NOT NULL CHECK (height > 0),
        place INTEGER NOT NULL CHECK (place >= 0)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE unindexed (height INTEGER PRIMARY KEY) STRICT;
    INSERT INTO unindexed SELECT height FROM blocks;
    CREATE TABLE certificates (
        height INTEGER PRIMARY KEY CHECK (height > 0),
        document BLOB NOT NULL
    ) STRICT;
    CREATE TABLE handovers (
        epoch INTEGER PRIMARY KEY CHECK (epoch >= 0),
        document BLOB NOT NULL
    ) STRICT;",
        // Blocks whose states came as snapshots: blocks go on after the newest of them.
        "CREATE TABLE bases (
        height INTEGER PRIMARY KEY CHECK (height > 0),
        id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
        header BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER bases_are_final BEFORE UPDATE ON bases BEGIN
        SELECT RAISE(ABORT, 'a base is final');
    END;
    CREATE TRIGGER bases_stay BEFORE DELETE ON bases BEGIN
        SELECT RAISE(ABORT, 'a base stays');
    END;
    CREATE TRIGGER bases_go_on BEFORE INSERT ON bases
    WHEN NEW.height <= max((SELECT coalesce(max(height), 0) FROM blocks), (SELECT coalesce(max(height), 0) FROM bases)) BEGIN
        SELECT RAISE(ABORT, 'a base is after all that is there');
    END;
    DROP TRIGGER blocks_have_no_gaps;
    CREATE TRIGGER blocks_have_no_gaps BEFORE INSERT ON blocks
    WHEN NEW.height <> 1 + max((SELECT coalesce(max(height), 0) FROM blocks), (SELECT coalesce(max(height), 0) FROM bases)) BEGIN
        SELECT RAISE(ABORT, 'a block has the next height');
    END;",
    ],
};

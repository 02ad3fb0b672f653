//! Tables of the guest's store.

use hanzo_store::Schema;

/// `hzr1`: the guest's store.
pub const APPLICATION_ID: i32 = 0x687a_7231;

/// The schema to open the guest's store with.
///
/// `owner` is SHA-256 of the owner's secret; `salts` is sealed under a key derived from that secret. Both are NULL for a
/// request without an owner. `log.frontier` is what appending after that leaf needs (`hanzo_log::Frontier`), `log_tiles` holds the
/// roots of full tiles; an order of an administrator stands in `log.keyset`, by its digest; the log key's seed is sealed. `usage` is
/// the sum of what stands beside the leaves, and of `usage_before`.
pub const SCHEMA: Schema = Schema {
    application_id: APPLICATION_ID,
    migrations: &[
        "CREATE TABLE receipts (
        keyset_digest BLOB NOT NULL CHECK (length(keyset_digest) = 48),
        seq INTEGER NOT NULL CHECK (seq >= 0),
        id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
        document BLOB NOT NULL,
        owner BLOB CHECK (owner IS NULL OR length(owner) = 32),
        salts BLOB CHECK ((salts IS NULL) = (owner IS NULL)),
        PRIMARY KEY (keyset_digest, seq)
    ) STRICT;
    CREATE TRIGGER receipts_are_final BEFORE UPDATE ON receipts BEGIN
        SELECT RAISE(ABORT, 'a receipt is final');
    END;
    CREATE TRIGGER receipts_stay BEFORE DELETE ON receipts BEGIN
        SELECT RAISE(ABORT, 'a receipt stays');
    END;
    CREATE TRIGGER receipts_have_no_gaps BEFORE INSERT ON receipts
    WHEN NEW.seq <> (SELECT coalesce(max(seq) + 1, 0) FROM receipts WHERE keyset_digest = NEW.keyset_digest) BEGIN
        SELECT RAISE(ABORT, 'a receipt has the next number');
    END;",
        "CREATE TABLE usage (
        account TEXT NOT NULL PRIMARY KEY CHECK (length(account) BETWEEN 1 AND 64),
        requests INTEGER NOT NULL CHECK (requests >= 0),
        prompt_tokens INTEGER NOT NULL CHECK (prompt_tokens >= 0),
        completion_tokens INTEGER NOT NULL CHECK (completion_tokens >= 0)
    ) STRICT;
    CREATE TRIGGER usage_only_grows BEFORE UPDATE ON usage
    WHEN NEW.requests <= OLD.requests OR NEW.prompt_tokens < OLD.prompt_tokens
        OR NEW.completion_tokens < OLD.completion_tokens OR NEW.account <> OLD.account BEGIN
        SELECT RAISE(ABORT, 'usage only grows');
    END;
    CREATE TRIGGER usage_stays BEFORE DELETE ON usage BEGIN
        SELECT RAISE(ABORT, 'usage stays');
    END;
    CREATE TABLE callers (
        one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
        version INTEGER NOT NULL CHECK (version > 0),
        document BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER callers_are_newer BEFORE UPDATE ON callers WHEN NEW.version <= OLD.version BEGIN
        SELECT RAISE(ABORT, 'the table of callers never goes back');
    END;
    CREATE TRIGGER callers_stay BEFORE DELETE ON callers BEGIN
        SELECT RAISE(ABORT, 'the table of callers stays');
    END;",
        // The log: its leaves are the documents of receipts, and of each keyset one leaf before its first receipt.
        "CREATE TABLE log_key (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        origin TEXT NOT NULL,
        suite TEXT NOT NULL,
        seed BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER log_key_is_final BEFORE UPDATE ON log_key BEGIN
        SELECT RAISE(ABORT, 'a log keeps its key');
    END;
    CREATE TRIGGER log_key_stays BEFORE DELETE ON log_key BEGIN
        SELECT RAISE(ABORT, 'a log keeps its key');
    END;
    CREATE TABLE log (
        idx INTEGER PRIMARY KEY CHECK (idx >= 0),
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        frontier BLOB NOT NULL,
        keyset_digest BLOB UNIQUE CHECK (keyset_digest IS NULL OR length(keyset_digest) = 48),
        keyset BLOB CHECK ((keyset IS NULL) = (keyset_digest IS NULL)),
        receipt BLOB UNIQUE REFERENCES receipts (id) CHECK ((receipt IS NULL) <> (keyset IS NULL))
    ) STRICT;
    CREATE TRIGGER leaves_are_final BEFORE UPDATE ON log BEGIN
        SELECT RAISE(ABORT, 'a leaf is final');
    END;
    CREATE TRIGGER leaves_stay BEFORE DELETE ON log BEGIN
        SELECT RAISE(ABORT, 'a leaf stays');
    END;
    CREATE TRIGGER leaves_have_no_gaps BEFORE INSERT ON log
    WHEN NEW.idx <> (SELECT coalesce(max(idx) + 1, 0) FROM log) BEGIN
        SELECT RAISE(ABORT, 'a leaf has the next number');
    END;
    CREATE TABLE log_tiles (
        level INTEGER NOT NULL CHECK (level > 0),
        idx INTEGER NOT NULL CHECK (idx >= 0),
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        PRIMARY KEY (level, idx)
    ) STRICT, WITHOUT ROWID;",
        // What a receipt's account used stands beside its leaf. Of receipts made before that only the sums are known.
        "ALTER TABLE log ADD COLUMN account TEXT CHECK (account IS NULL OR receipt IS NOT NULL);
    ALTER TABLE log ADD COLUMN prompt_tokens INTEGER CHECK ((prompt_tokens IS NULL) = (account IS NULL));
    ALTER TABLE log ADD COLUMN completion_tokens INTEGER CHECK ((completion_tokens IS NULL) = (account IS NULL));
    CREATE TABLE usage_before (
        account TEXT NOT NULL PRIMARY KEY,
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL
    ) STRICT;
    INSERT INTO usage_before SELECT account, requests, prompt_tokens, completion_tokens FROM usage;
    CREATE TRIGGER usage_before_is_final BEFORE UPDATE ON usage_before BEGIN
        SELECT RAISE(ABORT, 'what was used before is final');
    END;
    CREATE TRIGGER usage_before_stays BEFORE DELETE ON usage_before BEGIN
        SELECT RAISE(ABORT, 'what was used before is final');
    END;
    CREATE TRIGGER usage_before_is_whole BEFORE INSERT ON usage_before BEGIN
        SELECT RAISE(ABORT, 'what was used before is final');
    END;",
    ],
};

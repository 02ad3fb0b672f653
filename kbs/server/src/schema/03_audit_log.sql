-- The audit chain as a Merkle tree (attestation/log/SPEC.md). frontier: roots of the complete subtrees after this line.
ALTER TABLE audit ADD COLUMN frontier BLOB;

-- Roots of full tiles: level 1 of 256 lines, level 2 of 65,536, and so on.
CREATE TABLE audit_tiles (
    level INTEGER NOT NULL CHECK (level > 0),
    idx   INTEGER NOT NULL CHECK (idx >= 0),
    hash  BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, idx)
) STRICT;
CREATE TRIGGER audit_tiles_are_append_only_update BEFORE UPDATE ON audit_tiles BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER audit_tiles_are_append_only_delete BEFORE DELETE ON audit_tiles BEGIN SELECT RAISE(ABORT, 'append only'); END;

-- Every head that was signed, as the note that left.
CREATE TABLE audit_heads (
    size INTEGER NOT NULL PRIMARY KEY CHECK (size > 0),
    note TEXT    NOT NULL
) STRICT;
CREATE TRIGGER audit_heads_are_append_only_update BEFORE UPDATE ON audit_heads BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER audit_heads_are_append_only_delete BEFORE DELETE ON audit_heads BEGIN SELECT RAISE(ABORT, 'append only'); END;

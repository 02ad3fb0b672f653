-- Tenants' key encryption keys, wrapped under the root (hanzo-vault). A KEK that is not live is overwritten with zeros.
CREATE TABLE keks (
    tenant      TEXT    NOT NULL,
    kek_version INTEGER NOT NULL CHECK (kek_version > 0),
    state       TEXT    NOT NULL CHECK (state IN ('live', 'retired', 'shredded')),
    seals       INTEGER NOT NULL DEFAULT 0 CHECK (seals >= 0),
    wrapped     BLOB    NOT NULL CHECK (length(wrapped) = 61),
    PRIMARY KEY (tenant, kek_version)
) STRICT;
CREATE TRIGGER keks_die_once BEFORE UPDATE OF state, wrapped ON keks WHEN OLD.state <> 'live'
BEGIN SELECT RAISE(ABORT, 'a KEK that is not live stays so'); END;

-- Which KEK a sealed secret stands under, and what it is for.
ALTER TABLE keys ADD COLUMN tenant      TEXT    NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN kek_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN purpose     TEXT    NOT NULL DEFAULT 'data-key' CHECK (purpose IN ('data-key', 'resource'));
CREATE INDEX keys_by_kek ON keys (tenant, kek_version);

-- Tenants' key encryption keys, wrapped under the root (hanzo-vault). A KEK that is not live is overwritten with zeros.
CREATE TABLE keks (
    tenant      TEXT   COLLATE "C" NOT NULL,
    kek_version BIGINT NOT NULL CHECK (kek_version > 0),
    state       TEXT   NOT NULL CHECK (state IN ('live', 'retired', 'shredded')),
    seals       BIGINT NOT NULL DEFAULT 0 CHECK (seals >= 0),
    wrapped     BYTEA  NOT NULL CHECK (octet_length(wrapped) = 61),
    PRIMARY KEY (tenant, kek_version)
);
CREATE TRIGGER keks_die_once BEFORE UPDATE OF state, wrapped ON keks
FOR EACH ROW WHEN (OLD.state <> 'live') EXECUTE FUNCTION hanzo_refuse('a KEK that is not live stays so');

-- Which KEK a sealed secret stands under, and what it is for.
ALTER TABLE keys ADD COLUMN tenant      TEXT   COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN kek_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN purpose     TEXT   NOT NULL DEFAULT 'data-key' CHECK (purpose IN ('data-key', 'resource'));
CREATE INDEX keys_by_kek ON keys (tenant, kek_version);

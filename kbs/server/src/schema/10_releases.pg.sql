-- The table of 10_releases.sql for PostgreSQL.
CREATE TABLE releases (
    tenant  TEXT COLLATE "C" NOT NULL,
    line    TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    text    TEXT NOT NULL,
    PRIMARY KEY (tenant, line, version)
);
CREATE TRIGGER releases_are_fixed BEFORE UPDATE ON releases
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('a release is fixed');
CREATE TRIGGER releases_stay BEFORE DELETE ON releases
FOR EACH ROW EXECUTE FUNCTION hanzo_refuse('a release is fixed');

-- Release bundles that a tenant's admins gave, by line. Every one stays; the newest counts, and the chain tells of each.
CREATE TABLE releases (
    tenant  TEXT    NOT NULL,
    line    TEXT    NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    text    TEXT    NOT NULL,
    PRIMARY KEY (tenant, line, version)
) STRICT;
CREATE TRIGGER releases_are_fixed BEFORE UPDATE ON releases
BEGIN SELECT RAISE(ABORT, 'a release is fixed'); END;
CREATE TRIGGER releases_stay BEFORE DELETE ON releases
BEGIN SELECT RAISE(ABORT, 'a release is fixed'); END;

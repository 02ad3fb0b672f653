-- The rule of 09_accepted_heads.sql for PostgreSQL.
DROP TRIGGER store_heads_go_forward ON store_heads;
CREATE TRIGGER store_heads_go_forward BEFORE UPDATE ON store_heads FOR EACH ROW
WHEN ((NEW.size < OLD.size AND NEW.token = OLD.token) OR NEW.token < OLD.token OR NEW.store <> OLD.store)
EXECUTE FUNCTION hanzo_refuse('heads and tokens go forward');

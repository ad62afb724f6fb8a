-- One row: what a shard is, whatever it is called in a worker's list and wherever its server stands.
CREATE TABLE IF NOT EXISTS identity (
  id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  value CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  made_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE=InnoDB;

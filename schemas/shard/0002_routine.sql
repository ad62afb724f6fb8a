-- Triggers, events, procedures and functions of the devices, kept for a restore. They are never
-- created here: the rows that a device sends already hold what they did.

CREATE TABLE IF NOT EXISTS routine (
  device_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  epoch INT UNSIGNED NOT NULL,
  file INT UNSIGNED NOT NULL,
  `offset` BIGINT UNSIGNED NOT NULL,
  part BIGINT UNSIGNED NOT NULL,

  -- The default database it ran in, under the device's own name for it.
  database_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  -- The statement in the character set of the client that sent it, and the session it ran in.
  statement LONGBLOB NOT NULL,
  sql_mode BIGINT UNSIGNED NOT NULL,
  charset_client SMALLINT UNSIGNED NOT NULL,
  collation_connection SMALLINT UNSIGNED NOT NULL,
  collation_database SMALLINT UNSIGNED NOT NULL,
  stored_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),

  PRIMARY KEY (device_id, epoch, file, `offset`, part)
) ENGINE=InnoDB;

-- How devices lie side by side in this shard, and the tables that they share where they do.

CREATE TABLE IF NOT EXISTS layout (
  -- There is one row.
  id TINYINT UNSIGNED NOT NULL,
  -- `schema_per_device`, or `merged`; the other two belong to `merged`.
  mode VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  database_template VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  device_column VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,

  PRIMARY KEY (id)
) ENGINE=InnoDB;

-- A table is noted before it is made: rows of a device lie in no other.
CREATE TABLE IF NOT EXISTS merged_table (
  database_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  table_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,

  PRIMARY KEY (database_name, table_name)
) ENGINE=InnoDB;

-- The sync-worker's account on a shard.
CREATE USER 'tributary'@'%' IDENTIFIED BY 'worker-password';
-- What `tributary-sync-worker check` asks for; and PROCESS, with which it tells apart two equal tables
-- that swap their names.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW, PROCESS
  ON *.* TO 'tributary'@'%';
-- A view names its owner on the device: an account that the shard may not have, or has as an
-- administrator (root@localhost). Without these a device is parked at its first view.
GRANT SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER, SYSTEM_USER ON *.* TO 'tributary'@'%';

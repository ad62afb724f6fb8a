-- The publisher's account on a MariaDB device, with what it needs and no more.
CREATE USER 'tributary'@'%' IDENTIFIED BY 'publisher-password';
GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR ON *.* TO 'tributary'@'%';

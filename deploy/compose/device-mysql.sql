-- The publisher's account on a MySQL device, with what it needs and no more.
CREATE USER 'tributary'@'%' IDENTIFIED BY 'publisher-password';
GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'tributary'@'%';

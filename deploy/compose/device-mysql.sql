-- The publisher's account on a MySQL device, with what it needs and no more.
CREATE USER 'tributary'@'%' IDENTIFIED BY 'publisher-password';
GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'tributary'@'%';

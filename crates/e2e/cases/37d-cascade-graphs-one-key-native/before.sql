CREATE DATABASE fk; USE fk;
CREATE TABLE z_root (id INT PRIMARY KEY, code VARCHAR(20) NOT NULL, v INT, UNIQUE KEY (code));
CREATE TABLE m_mid (id INT PRIMARY KEY, root_id INT, code VARCHAR(20), n INT, KEY (n),
  CONSTRAINT m1 FOREIGN KEY (root_id) REFERENCES z_root (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE u_code (id INT PRIMARY KEY, code VARCHAR(20),
  CONSTRAINT u1 FOREIGN KEY (code) REFERENCES z_root (code) ON DELETE SET NULL ON UPDATE CASCADE);
CREATE TABLE a_leaf (a INT, b INT, mid_id INT, t VARCHAR(10), g INT AS (mid_id + 1) VIRTUAL, PRIMARY KEY (a, b), UNIQUE KEY (t), KEY (g),
  CONSTRAINT l1 FOREIGN KEY (mid_id) REFERENCES m_mid (id) ON DELETE SET NULL ON UPDATE CASCADE);
CREATE TABLE k_tree (id INT PRIMARY KEY, parent INT, CONSTRAINT k1 FOREIGN KEY (parent) REFERENCES k_tree (id) ON DELETE CASCADE);
CREATE TABLE b_pair (a INT, b INT, x INT, y INT, PRIMARY KEY (x), CONSTRAINT b1 FOREIGN KEY (a, b) REFERENCES a_leaf (a, b) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE c_log (id INT, mid_id INT, KEY (mid_id), CONSTRAINT c1 FOREIGN KEY (mid_id) REFERENCES m_mid (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE DATABASE fk2;
CREATE TABLE fk2.away (id INT PRIMARY KEY, root_id INT, CONSTRAINT w1 FOREIGN KEY (root_id) REFERENCES fk.z_root (id) ON DELETE CASCADE ON UPDATE SET NULL);
INSERT INTO z_root VALUES (1,'one',1),(2,'two',2),(3,'three',3),(4,'four',4),(5,'five',5),(6,'six',6),(7,'seven',7);
INSERT INTO m_mid VALUES (10,1,'one',1),(11,1,'two',1),(12,2,'three',2),(13,3,NULL,3),(14,4,'five',4),(15,5,'five',5),(16,6,'six',6),(17,7,'seven',7);
INSERT INTO u_code VALUES (1,'one'),(2,'two'),(3,'three'),(4,'three'),(5,'five'),(6,'six'),(7,'seven');
INSERT INTO a_leaf (a,b,mid_id,t) VALUES (1,1,10,'a'),(1,2,11,'b'),(2,1,12,'c'),(2,2,13,'d'),(3,1,14,'e'),(3,2,15,'f'),(4,1,16,'g'),(4,2,17,'h');
INSERT INTO b_pair VALUES (1,1,1,1),(1,2,2,2),(2,1,3,3),(2,2,4,4),(3,1,5,5),(4,1,6,6);
INSERT INTO c_log VALUES (1,10),(1,10),(2,11),(3,12),(4,13),(5,16),(5,16),(6,17);
INSERT INTO k_tree VALUES (1,NULL),(2,1),(3,2),(4,3),(5,1),(6,NULL),(7,6),(8,7);
INSERT INTO fk2.away VALUES (1,1),(2,2),(3,3),(4,4),(5,5),(6,6);
DELETE FROM z_root WHERE id = 7;

create database d; create table d.k(a int primary key); insert into d.k values(1); create table d.a(a int primary key); create table d.b(a int primary key); insert into d.b values(5);

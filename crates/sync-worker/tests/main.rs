//! The sync-worker on real servers: MySQL and MariaDB as shards, nats-server in between.

mod ddl;
mod device;
mod examples;
mod faults;
mod rows;
mod shard;
mod stream;
mod values;
mod worker;

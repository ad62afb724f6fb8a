//! The sync-worker on real servers: MySQL and MariaDB as shards, nats-server in between.

mod ddl;
mod deaths;
mod device;
mod examples;
mod faults;
mod fleet;
mod isolation;
mod lab;
mod large;
mod merged;
mod merged_ddl;
mod merged_random;
mod merged_versions;
mod merged_worker;
mod parking;
mod preflight;
mod provision;
mod refusals;
mod rows;
mod shard;
mod snapshot;
mod stream;
mod text;
mod tls;
mod values;
mod worker;

//! End to end: what is committed on a device is committed on its shard, whatever dies on the way.

mod copies;
mod deaths;
mod filter;
mod isolation;
mod lab;
mod links;
mod merged;
mod oracle;
mod randomized;
mod retention;
mod snapshot;

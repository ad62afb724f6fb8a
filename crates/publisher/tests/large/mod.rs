//! Rows and events of any size.

mod cuts;
mod damage;
mod model;
mod sizes;

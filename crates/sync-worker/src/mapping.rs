//! Whose database is called what at the target: `<device>__<database>`.

use tributary_wire::DeviceId;

/// Between device and database; a device id cannot hold it.
pub const SEPARATOR: &str = "__";
/// Longest name of a database, in characters (MySQL and MariaDB).
pub const NAME_CHARS_MAX: usize = 64;

/// Databases that belong to the server and not to its user: never written at a target.
const SYSTEM: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// The database at the target; `None` when the name would be too long for MySQL.
pub fn database(device: &DeviceId, database: &str) -> Option<String> {
    let name = format!("{device}{SEPARATOR}{database}");
    (name.chars().count() <= NAME_CHARS_MAX).then_some(name)
}

/// True for the server's own databases.
pub fn is_system(database: &str) -> bool {
    SYSTEM.iter().any(|system| system.eq_ignore_ascii_case(database))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_carries_its_device() {
        let device: DeviceId = "DEVICE_001".parse().expect("valid");
        assert_eq!(database(&device, "app").as_deref(), Some("DEVICE_001__app"));
        assert_eq!(database(&device, &"x".repeat(52)).map(|name| name.len()), Some(64));
        assert_eq!(database(&device, &"x".repeat(53)), None);
    }

    #[test]
    fn the_servers_own_databases_are_known_in_any_case() {
        assert!(is_system("mysql") && is_system("INFORMATION_SCHEMA") && !is_system("app"));
    }
}
